//! Every file of the server by its path: what exists, and its bytes, made when first asked for.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use chrono::NaiveDate;
use tokio::sync::{OnceCell, Semaphore};

use crate::asset::Asset;
use crate::cog::{Crs, Layout, Window, encode};
use crate::filled::filled;
use crate::hash::{mix, text};
use crate::item::asset_path;
use crate::land::{WINDOW_OFFSET_M, WINDOW_PX, WINDOW_SIZE_M};
use crate::rope::Rope;
use crate::scene::Scene;
use crate::sky::{SKY_PX, Sky, sky};
use crate::smap::{PRODUCT, Template};
use crate::statics::Static;
use crate::world::World;
use crate::{Error, Region, era5, era5_zarr, render, smap, statics};

/// Part of the name of a cache folder: raise it when any byte that is served changes.
const CONTENT_VERSION: u32 = 1;
const SKIES: usize = 24;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A folder: names of what is in it, folders with a trailing slash.
    Folder(Vec<String>),
    /// A file.
    File(Source),
}

/// How a file is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Cog(Scene, Asset),
    Static(Region, Static),
    Era5(Region, String),
    Smap(NaiveDate, String),
    Zarr(Region, era5_zarr::Key),
    Text(&'static str),
}

/// The files of a world, with a memory of those made last and optionally a folder that keeps all.
#[derive(Debug)]
pub(crate) struct Library {
    world: World,
    folder: Option<PathBuf>,
    memory: Mutex<Memory>,
    skies: Mutex<VecDeque<(String, Arc<OnceLock<Sky>>)>>,
    smap: OnceLock<Template>,
    makers: Semaphore,
    fill: bool,
}

impl Library {
    pub(crate) fn new(world: World, cache: Option<PathBuf>, memory_bytes: usize, fill: bool) -> Self {
        let folder = cache.map(|dir| dir.join(world.folder_name(CONTENT_VERSION)));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            world,
            folder,
            memory: Mutex::new(Memory { limit: memory_bytes, ..Memory::default() }),
            skies: Mutex::default(),
            smap: OnceLock::new(),
            makers: Semaphore::new(cores),
            fill,
        }
    }

    /// What lies at a path (without leading slash), `None` where nothing does.
    pub(crate) fn entry(&self, path: &str) -> Option<Entry> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        match parts[..] {
            ["cogs", tile, day, scene, file] => {
                let region = Region::ALL.into_iter().find(|region| region.tile_id() == tile)?;
                let scene = self.world.scenes(region).iter().find(|known| known.id == scene)?;
                let asset = Asset::from_key(file.strip_suffix(".tif")?)?;
                let known = asset_path(scene, asset);
                (known == format!("/cogs/{tile}/{day}/{}/{file}", scene.id))
                    .then(|| Entry::File(Source::Cog(scene.clone(), asset)))
            }
            ["smap"] => Some(Entry::Folder(vec![format!("{PRODUCT}/")])),
            ["smap", PRODUCT] => {
                Some(Entry::Folder(days().map(|day| format!("{}/", day.format("%Y.%m.%d"))).collect()))
            }
            ["smap", PRODUCT, day, ref rest @ ..] => {
                let date = NaiveDate::parse_from_str(day, "%Y.%m.%d")
                    .ok()
                    .filter(|date| days().any(|d| d == *date))?;
                let names = smap::granules(date);
                match rest {
                    [] => Some(Entry::Folder(
                        names.iter().flat_map(|n| [n.clone(), format!("{n}.iso.xml")]).collect(),
                    )),
                    [name] if names.iter().any(|known| known == name) => {
                        Some(Entry::File(Source::Smap(date, (*name).to_owned())))
                    }
                    [name]
                        if name
                            .strip_suffix(".iso.xml")
                            .is_some_and(|n| names.iter().any(|known| known == n)) =>
                    {
                        Some(Entry::File(Source::Text("<?xml version=\"1.0\"?>\n<DS_Series/>\n")))
                    }
                    _ => None,
                }
            }
            ["era5"] => Some(Entry::Folder(Region::ALL.map(|region| format!("{region}/")).to_vec())),
            ["era5", region] => Some(Entry::Folder(era5::names(region.parse().ok()?))),
            ["era5", region, name] => {
                let region = region.parse().ok()?;
                era5::names(region)
                    .contains(&name.to_owned())
                    .then(|| Entry::File(Source::Era5(region, name.to_owned())))
            }
            [era5_zarr::FOLDER, region, ref rest @ ..] => {
                let region = region.parse().ok()?;
                era5_zarr::key(&rest.join("/")).map(|key| Entry::File(Source::Zarr(region, key)))
            }
            [folder] => {
                Static::ALL.iter().find(|layer| layer.folder() == folder)?;
                Some(Entry::Folder(Region::ALL.map(|region| format!("{region}.tif")).to_vec()))
            }
            [folder, file] => {
                let layer = Static::ALL.into_iter().find(|layer| layer.folder() == folder)?;
                Some(Entry::File(Source::Static(file.strip_suffix(".tif")?.parse().ok()?, layer)))
            }
            _ => None,
        }
    }

    /// The bytes of a file. Made once, however many ask at the same time.
    pub(crate) async fn file(self: &Arc<Self>, path: &str, source: &Source) -> Result<Rope, Error> {
        match source {
            Source::Text(text) => return Ok(Bytes::from_static(text.as_bytes()).into()),
            // Granules and chunks are made faster than they are remembered.
            Source::Smap(..) | Source::Zarr(..) => return Ok(self.make(path, source.clone()).await?.into()),
            _ => {}
        }
        let cell = lock(&self.memory).cell(path);
        let made = || async {
            let bytes = self.make(path, source.clone()).await?;
            match self.fills(source) {
                Some(asset) => self.filled(path, asset, &bytes),
                None => Ok(bytes.into()),
            }
        };
        let rope = cell.get_or_try_init(made).await?.clone();
        lock(&self.memory).settle(path, rope.held());
        Ok(rope)
    }

    /// Bytes of a SMAP granule; all have the same size.
    pub(crate) async fn granule_bytes(self: &Arc<Self>) -> Result<usize, Error> {
        let library = Arc::clone(self);
        tokio::task::spawn_blocking(move || smap::size(&library.world, &library.smap)).await.map_err(
            |failure| Error::Inconsistent { name: PRODUCT.to_owned(), reason: failure.to_string() },
        )?
    }

    /// The entity tag of a file, with its quotes: another one where a tile is filled.
    pub(crate) fn tag(&self, path: &str, source: &Source, rope: &Rope) -> String {
        let form = text(if self.fills(source).is_some() { "filled" } else { "" });
        format!("\"{:016x}\"", mix(self.world.seed(), &[text(path), rope.len() as u64, form]))
    }

    /// The asset of a file whose blocks are repeated over the whole tile.
    fn fills(&self, source: &Source) -> Option<Asset> {
        match source {
            Source::Cog(_, asset) if self.fill => Some(*asset),
            _ => None,
        }
    }

    fn filled(&self, path: &str, asset: Asset, cog: &Bytes) -> Result<Rope, Error> {
        let pixels = |metres: f64| (metres / asset.resolution_m()) as usize;
        filled(cog, pixels(WINDOW_OFFSET_M), pixels(WINDOW_SIZE_M)).ok_or_else(|| Error::Inconsistent {
            name: path.to_owned(),
            reason: "its directories do not lead to its blocks".to_owned(),
        })
    }

    async fn make(self: &Arc<Self>, path: &str, source: Source) -> Result<Bytes, Error> {
        // The semaphore is never closed, so the permit is only ever absent at shutdown.
        let _permit = self.makers.acquire().await.ok();
        let library = Arc::clone(self);
        let keeps = !matches!(source, Source::Zarr(..));
        let kept = self.folder.as_ref().filter(|_| keeps).map(|folder| folder.join(path));
        let work = move || -> Result<Bytes, Error> {
            if let Some(file) = kept.as_ref().filter(|file| file.is_file()) {
                return std::fs::read(file).map(Bytes::from).map_err(Error::io(file));
            }
            let bytes = library.produce(&source)?;
            if let Some(file) = &kept {
                if let Some(parent) = file.parent() {
                    std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
                }
                minicube::write_atomic(file, &bytes)?;
            }
            Ok(Bytes::from(bytes))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|failure| Error::Inconsistent { name: path.to_owned(), reason: failure.to_string() })?
    }

    fn produce(&self, source: &Source) -> Result<Vec<u8>, Error> {
        let absent =
            |name: &str| Error::Inconsistent { name: name.to_owned(), reason: "no such file".to_owned() };
        match source {
            Source::Cog(scene, asset) => Ok(self.cog(scene, *asset)),
            Source::Static(region, layer) => Ok(statics::raster(&self.world, *region, *layer)),
            Source::Era5(region, name) => {
                era5::file(&self.world, *region, name).unwrap_or_else(|| Err(absent(name)))
            }
            Source::Smap(date, name) => {
                smap::granule(&self.world, &self.smap, *date, name).unwrap_or_else(|| Err(absent(name)))
            }
            Source::Zarr(region, key) => era5_zarr::object(&self.world, *region, *key),
            Source::Text(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    fn cog(&self, scene: &Scene, asset: Asset) -> Vec<u8> {
        let tile = self.world.tile(scene.region);
        let resolution = asset.resolution_m();
        let layout = Layout {
            width: asset.size_px(),
            height: asset.size_px(),
            block: 1024,
            overview_block: 512,
            overviews: vec![2, 4, 8, 16],
            crs: Crs::Utm(tile.epsg.0 as u16),
            origin: tile.origin,
            pixel: resolution,
            nodata: "0",
        };
        let first = (WINDOW_OFFSET_M / resolution) as usize;
        let shared = self.sky(scene);
        let sky = shared.get_or_init(|| {
            let series = self.world.series(scene.region);
            sky(scene, self.world.land(scene.region), series, self.world.clouds())
        });
        match asset.band() {
            None => encode(&layout, &Window { row: first, col: first, width: SKY_PX, data: &sky.scl }),
            Some(band) => {
                let data = render::reflectance(&self.world, scene, asset, band, sky);
                let width = if resolution < 15.0 { WINDOW_PX } else { SKY_PX };
                encode(&layout, &Window { row: first, col: first, width, data: &data })
            }
        }
    }

    /// The sky of a scene serves all its assets, which are usually fetched together.
    fn sky(&self, scene: &Scene) -> Arc<OnceLock<Sky>> {
        let mut skies = lock(&self.skies);
        if let Some((_, sky)) = skies.iter().find(|(id, _)| *id == scene.id) {
            return Arc::clone(sky);
        }
        let sky = Arc::new(OnceLock::new());
        skies.push_back((scene.id.clone(), Arc::clone(&sky)));
        if skies.len() > SKIES {
            skies.pop_front();
        }
        sky
    }
}

fn days() -> impl Iterator<Item = NaiveDate> {
    let first = NaiveDate::from_ymd_opt(2016, 1, 1).unwrap_or_default();
    first.iter_days().take_while(|day| *day <= crate::weather::last_day())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files made last, up to a number of bytes; the one asked for longest ago goes first.
#[derive(Debug, Default)]
struct Memory {
    limit: usize,
    clock: u64,
    files: BTreeMap<String, Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    cell: Arc<OnceCell<Rope>>,
    bytes: usize,
    used: u64,
}

impl Memory {
    fn cell(&mut self, path: &str) -> Arc<OnceCell<Rope>> {
        self.clock += 1;
        let file = self.files.entry(path.to_owned()).or_default();
        file.used = self.clock;
        Arc::clone(&file.cell)
    }

    fn settle(&mut self, path: &str, bytes: usize) {
        if let Some(file) = self.files.get_mut(path) {
            file.bytes = bytes;
        }
        while self.files.values().map(|file| file.bytes).sum::<usize>() > self.limit {
            let oldest =
                self.files.iter().filter(|(_, file)| file.bytes > 0).min_by_key(|(_, file)| file.used);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else { return };
            self.files.remove(&path);
        }
    }
}
