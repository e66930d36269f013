//! Importer of openEO extractions as WorldCereal stores them: one place a folder, NetCDF files of Sentinel-2 at 10 m
//! and 20 m and of daily AgERA5 weather.
//!
//! Reflectances are uint16, 10⁴ ρ, 0 = no data, without the offset of baseline 04.00; all acquisitions are in, clouds
//! too, and several may fall on one day. Weather becomes the `era5` group with ERA5's names and units.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::DateTime;
use minicube::run::{Ctx, Failure, Finish, Project, Run, human_bytes};
use minicube::{
    Bounds, CellGrid, Cube, CubeWriter, Epsg, LonLat, NaiveDate, Outcome, SENTINEL2_NAMES, day_of_second,
    finish_sealing, is_sealed, list_stores, partial_path, plan_hash, stored_bytes, to_cf_day,
};
use ndarray::{Array1, Array3, Array4, Axis, s};
use serde::Serialize;
use serde_json::json;

use crate::baseline::STORED_OFFSET;
use crate::config::{Classes, Config, ImportConfig, OffsetRule, SameDay};
use crate::daily::Reduce;
use crate::dark_pixels::OffsetCheck;
use crate::files::FileSet;
use crate::layout::{Layout, SeriesInfo, SeriesLayout};
use crate::ledger::Ledger;
use crate::netcdf_file::NetcdfFile;
use crate::plan::{CubePlan, store_path};
use crate::resample::{AxisWeights, area_average, area_mode, nearest};
use crate::same_day::frames;
use crate::scene::Scene;
use crate::statics::{self, StaticsPlan};
use crate::{Error, STAGE, build, report, verify};

/// From this day on a digital number may carry the offset of baseline 04.00, and these files do not say so.
const OFFSET_SINCE: Option<NaiveDate> = NaiveDate::from_ymd_opt(2022, 1, 25);

/// One AgERA5 variable: its name, ours, the day's statistic, factor, unit.
struct Weather(&'static str, &'static str, Reduce, f64, &'static str);

const WEATHER: [Weather; 8] = [
    Weather("temperature_mean", "t2m", Reduce::Mean, 1.0, "K"),
    Weather("temperature_max", "t2m_max", Reduce::Max, 1.0, "K"),
    Weather("temperature_min", "t2m_min", Reduce::Min, 1.0, "K"),
    // A flux of 1 mm a day is 0.001 m of water in the day, as ERA5's total precipitation counts it.
    Weather("precipitation_flux", "tp", Reduce::Sum, 0.001, "m"),
    Weather("solar_radiation_flux", "ssrd", Reduce::Sum, 1.0, "J m**-2"),
    Weather("dewpoint_temperature", "d2m", Reduce::Mean, 1.0, "K"),
    Weather("vapour_pressure", "vp", Reduce::Mean, 100.0, "Pa"),
    Weather("wind_speed", "si10", Reduce::Mean, 1.0, "m s**-1"),
];

/// The resolved import.
#[derive(Debug, Serialize)]
pub struct ImportPlan {
    /// Version of this stage.
    pub version: &'static str,
    /// Layers besides the scene classification, by their keys.
    pub assets: Vec<String>,
    /// How classes are resampled.
    pub classes: Classes,
    /// Size and resolution of the cubes.
    pub grid: CellGrid,
    /// Identity of the files.
    pub digest: String,
    /// Static layers, from the project's own `raw/dem` and `raw/landcover` where there are any.
    pub statics: StaticsPlan,
    /// One place a store.
    pub places: Vec<Place>,
    #[serde(skip)]
    level1: PathBuf,
    /// Folder of manifest, report, and stores under construction.
    #[serde(skip)]
    folder: PathBuf,
    /// What is known of the blocks of the static layers' rasters.
    #[serde(skip)]
    ledger: Ledger,
}

/// One place to import.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Sentinel-2 tile id.
    pub tile: String,
    /// UTM zone.
    pub epsg: Epsg,
    /// The minicube.
    pub cube: CubePlan,
    /// Acquisitions, ascending.
    pub scenes: Vec<Scene>,
    /// The variable's file and grid, by asset (`scl` too).
    #[serde(skip)]
    sources: BTreeMap<String, Source>,
    #[serde(skip)]
    weather: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    band: String,
    /// Upper-left corner, metres.
    origin: (f64, f64),
    /// Pixel, metres.
    pixel: f64,
    /// Rows and columns.
    size: (usize, usize),
    /// Whether the first row is the southern one.
    flipped: bool,
}

/// Looks at the input of `[level1.import]`.
///
/// # Errors
/// - [`Error::NoInput`] if there are no files, or a place lacks its Sentinel-2 files,
/// - [`Error::Variable`] for files of another layout,
/// - [`Error::Config`] for a cube that is larger than the data, or two places in one tile.
pub fn import(import: &ImportConfig, config: &Config, project: &Project) -> Result<ImportPlan, Error> {
    let assets = config.keys()?;
    alone(config)?;
    let (paths, digest) = list(&import.input)?;
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in paths {
        let id = NetcdfFile::open(&path)?.global_attr("location_id").unwrap_or_else(|| "place".to_owned());
        places.entry(id).or_default().push(path);
    }
    let grid = CellGrid { size_px: import.size_px, resolution_m: import.resolution_m };
    let places = places
        .into_iter()
        .map(|(id, files)| place(&id, &files, &assets, grid))
        .collect::<Result<Vec<_>, Error>>()?;
    for (i, place) in places.iter().enumerate() {
        if let Some(other) = places[..i].iter().find(|other| other.tile == place.tile) {
            return Err(Error::Config {
                key: "import.input",
                expected: "one place per tile and project folder".into(),
                found: format!("{} and {} in {}", other.cube.id, place.cube.id, place.tile),
            });
        }
    }
    Ok(ImportPlan {
        version: env!("CARGO_PKG_VERSION"),
        assets,
        classes: config.classes,
        grid,
        digest,
        statics: statics::plan(config, project)?,
        ledger: Ledger::read(&project.raw().join("ledger.parquet"))?,
        places,
        level1: project.level1(),
        folder: project.level1_folder(),
    })
}

/// Refuses the options that an import does not have: its files name no acquisitions to merge and no offset to check.
fn alone(config: &Config) -> Result<(), Error> {
    let wrong = |key: &'static str, expected: &str, found: &str| Error::Config {
        key,
        expected: format!("`{expected}`, the only one that an import has"),
        found: format!("`{found}`"),
    };
    if config.same_day != SameDay::Separate {
        return Err(wrong("same_day", "separate", "merge"));
    }
    if config.offset != OffsetRule::Metadata {
        return Err(wrong("offset", "metadata", "pixels"));
    }
    Ok(())
}

fn list(input: &[PathBuf]) -> Result<(Vec<PathBuf>, String), Error> {
    let (mut paths, mut digests) = (Vec::new(), Vec::new());
    for path in input {
        if path.is_dir() {
            let set = FileSet::list(path, &["nc"])?;
            digests.push(set.digest);
            paths.extend(set.paths);
        } else {
            let size = std::fs::metadata(path).map_err(Error::read(path))?.len();
            digests
                .push(plan_hash(&(path.file_name().map(|name| name.to_string_lossy().into_owned()), size)));
            paths.push(path.clone());
        }
    }
    if paths.is_empty() {
        return Err(Error::NoInput {
            path: input.first().cloned().unwrap_or_default(),
            what: "expected NetCDF files to import, found none".into(),
            hint: "name files or folders with --input or in [level1.import] input",
        });
    }
    Ok((paths, plan_hash(&digests)))
}

fn place(id: &str, files: &[PathBuf], assets: &[String], grid: CellGrid) -> Result<Place, Error> {
    let mut sources = BTreeMap::new();
    let mut weather = None;
    let is_wanted = |key: &str| key == "scl" || assets.iter().any(|asset| asset == key);
    let bands: Vec<(&str, &str)> = SENTINEL2_NAMES.into_iter().filter(|(key, _)| is_wanted(key)).collect();
    let mut scenes: Option<(Vec<i64>, PathBuf)> = None;
    let mut about = None;
    for path in files {
        let file = NetcdfFile::open(path)?;
        if WEATHER.iter().any(|Weather(name, ..)| file.has(name)) {
            weather = Some(path.clone());
        }
        for (key, band) in bands.iter().filter(|(_, band)| file.has(band)) {
            let times = file.times(band)?;
            match &scenes {
                Some((known, first)) if *known != times => {
                    let reason = format!(
                        "expected the {} acquisitions of {}, found {}",
                        known.len(),
                        first.display(),
                        times.len()
                    );
                    return Err(Error::variable(path, band, reason));
                }
                _ => scenes = Some((times, path.clone())),
            }
            sources.insert((*key).to_owned(), Source::of(&file, path, band)?);
            about.get_or_insert_with(|| (path.clone(), file.global_attr("tile"), file.global_attr("epsg")));
        }
    }
    let missing = bands.iter().map(|(key, _)| *key).chain(assets.iter().map(String::as_str));
    let missing = missing.into_iter().find(|key| !sources.contains_key(*key));
    let (Some((times, path)), Some((_, tile, epsg)), None) = (scenes, about, missing) else {
        return Err(Error::NoInput {
            path: files.first().cloned().unwrap_or_default(),
            what: format!("expected {} of {id} in its files, found none", missing.unwrap_or("scl")),
            hint: "give the folder with the S2_L2A_10m and S2_L2A_20m files, or change [level1] assets",
        });
    };
    let attr = |key: &str, value: Option<String>| {
        value.ok_or_else(|| {
            Error::variable(&path, "/", format!("expected the global attribute {key}, found none"))
        })
    };
    let tile = attr("tile", tile)?;
    let epsg = attr("epsg", epsg)?;
    let epsg: u32 = epsg
        .parse()
        .map_err(|_| Error::variable(&path, "/", format!("epsg: expected a number, found `{epsg}`")))?;
    let bounds = bounds(&sources, grid)?;
    let center = to_lon_lat(epsg, &bounds)?;
    let scenes = scenes_of(&tile, &times, &path)?;
    let cube = CubePlan { id: id.to_owned(), bounds, center };
    Ok(Place { tile, epsg: Epsg(epsg), cube, scenes, sources, weather })
}

impl Source {
    fn of(file: &NetcdfFile, path: &Path, band: &str) -> Result<Source, Error> {
        let (y, x) = file.places(band)?;
        let wrong = |found: String| {
            Error::variable(path, band, format!("expected square pixels on a regular grid, found {found}"))
        };
        let step = |axis: &[f64]| match axis {
            [first, .., last] => Ok((last - first) / (axis.len() - 1) as f64),
            _ => Err(wrong(format!("{} pixels along an axis", axis.len()))),
        };
        let (dx, dy) = (step(&x)?, step(&y)?);
        if dx <= 0.0 || (dx - dy.abs()).abs() > 1e-6 {
            return Err(wrong(format!("steps of {dx} and {dy} m")));
        }
        let north = y[0].max(y[y.len() - 1]);
        Ok(Source {
            path: path.to_owned(),
            band: band.to_owned(),
            origin: (x[0] - dx / 2.0, north + dx / 2.0),
            pixel: dx,
            size: (y.len(), x.len()),
            flipped: dy > 0.0,
        })
    }

    fn weights(&self, bounds: &Bounds, grid: CellGrid) -> (AxisWeights, AxisWeights) {
        let step = grid.resolution_m / self.pixel;
        let (rows, cols) =
            ((self.origin.1 - bounds.y_max) / self.pixel, (bounds.x_min - self.origin.0) / self.pixel);
        (
            AxisWeights::new(rows, step, grid.size_px, self.size.0),
            AxisWeights::new(cols, step, grid.size_px, self.size.1),
        )
    }

    fn read<T: netcdf::NcTypeDescriptor + Copy>(&self) -> Result<Array3<T>, Error> {
        let mut values = NetcdfFile::open(&self.path)?.read_stored::<T>(&self.band)?;
        if self.flipped {
            values.invert_axis(Axis(1));
        }
        Ok(values)
    }
}

/// The cube begins at the upper-left corner that all sources share.
fn bounds(sources: &BTreeMap<String, Source>, grid: CellGrid) -> Result<Bounds, Error> {
    let x_min = sources.values().map(|source| source.origin.0).fold(f64::MIN, f64::max);
    let y_max = sources.values().map(|source| source.origin.1).fold(f64::MAX, f64::min);
    let edge = grid.cell_size_m();
    let room = |source: &Source| {
        let right = source.origin.0 + source.size.1 as f64 * source.pixel - x_min;
        let below = y_max - (source.origin.1 - source.size.0 as f64 * source.pixel);
        right.min(below)
    };
    let room = sources.values().map(room).fold(f64::MAX, f64::min);
    if edge > room + 1e-6 || edge <= 0.0 {
        return Err(Error::Config {
            key: "import.size_px",
            expected: format!("size_px × resolution_m of at most {room} m, the extent of the data"),
            found: format!("{} × {} m = {edge} m", grid.size_px, grid.resolution_m),
        });
    }
    Ok(Bounds { x_min, y_min: y_max - edge, x_max: x_min + edge, y_max })
}

fn to_lon_lat(epsg: u32, bounds: &Bounds) -> Result<LonLat, Error> {
    let (from, to) = (format!("EPSG:{epsg}"), "EPSG:4326".to_owned());
    let center = bounds.center();
    let proj = proj::Proj::new_known_crs(&from, &to, None).map_err(|error| error.to_string());
    let result = proj.and_then(|proj| proj.convert((center.x, center.y)).map_err(|error| error.to_string()));
    let (lon, lat) = result.map_err(|reason| Error::Projection { from, to, reason })?;
    Ok(LonLat { lon, lat })
}

/// One scene per time stamp, with an id of tile and time.
fn scenes_of(tile: &str, times: &[i64], path: &Path) -> Result<Vec<Scene>, Error> {
    if !times.is_sorted() {
        return Err(Error::variable(path, "timestamp", "expected ascending times, found others"));
    }
    let latest = times.iter().map(|&time| day_of_second(time)).max();
    if latest >= OFFSET_SINCE.map(to_cf_day) {
        let reason = "expected acquisitions before 2022-01-25, found later ones: the files do not say whether their \
                      numbers carry the offset of baseline 04.00";
        return Err(Error::variable(path, "timestamp", reason));
    }
    let scene = |&time: &i64| {
        let moment = DateTime::from_timestamp(time, 0).unwrap_or_default();
        Scene {
            id: format!("{tile}_{}", moment.format("%Y%m%dT%H%M%S")),
            datetime: moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            day: day_of_second(time),
            baseline: f64::NAN,
            offset_applied: false,
            add: STORED_OFFSET,
            check: OffsetCheck::Undecided,
            gains: BTreeMap::new(),
            sizes: BTreeMap::new(),
            folder: PathBuf::new(),
        }
    };
    Ok(times.iter().map(scene).collect())
}

/// Daily weather of a place: first CF day, descriptions, values by variable.
struct Series {
    first_day: i32,
    days: usize,
    info: Vec<SeriesInfo>,
    values: Vec<Vec<f32>>,
}

fn read_weather(path: &Path) -> Result<Series, Error> {
    let file = NetcdfFile::open(path)?;
    let (mut info, mut values) = (Vec::new(), Vec::new());
    let mut span: Option<(i32, usize)> = None;
    for Weather(source, name, reduce, factor, unit) in
        WEATHER.iter().filter(|Weather(name, ..)| file.has(name))
    {
        let days: Vec<i32> = file.times(source)?.into_iter().map(day_of_second).collect();
        let (Some(&first), Some(&last)) = (days.iter().min(), days.iter().max()) else {
            return Err(Error::variable(path, source, "expected days, found none"));
        };
        let &mut (first, len) = span.get_or_insert((first, usize::try_from(last - first + 1).unwrap_or(0)));
        let (rows, cols) = file.places(source)?;
        let (row, col) = (rows.len() / 2, cols.len() / 2);
        let read = file.read(source, 0..days.len(), row..row + 1, col..col + 1)?;
        let mut series = vec![f32::NAN; len];
        for (day, value) in days.iter().zip(read.iter()) {
            if let Some(slot) = usize::try_from(day - first).ok().and_then(|index| series.get_mut(index)) {
                *slot = (value * factor) as f32;
            }
        }
        let attrs = BTreeMap::from([
            ("units".to_owned(), (*unit).to_owned()),
            ("long_name".to_owned(), format!("AgERA5 {}", source.replace('_', " "))),
        ]);
        info.push(SeriesInfo { name: (*name).to_owned(), reduce: *reduce, attrs });
        values.push(series);
    }
    let (first_day, days) = span.unwrap_or((0, 0));
    Ok(Series { first_day, days, info, values })
}

impl ImportPlan {
    /// Imports every place.
    ///
    /// # Errors
    /// A [`Failure`] for unreadable files or a store that cannot be written.
    pub fn run(&self, project: &Project, ctx: &Ctx) -> Result<Finish, Failure> {
        // A bucket that cannot be reached is told before the work, not after it.
        list_stores(&self.level1)?;
        let mut run = Run::start(STAGE, env!("CARGO_PKG_VERSION"), ctx, self, project.seed);
        let mut stores = Vec::new();
        for place in &self.places {
            let path = store_path(&self.level1, &place.tile);
            let partial = partial_path(&store_path(&self.folder, &place.tile));
            let hash = self.hash(place);
            if is_sealed(&path, &hash) {
                finish_sealing(&path, &partial)?;
                run.outcome(Outcome::skipped(&place.tile, "done before"));
            } else {
                let clock = Instant::now();
                self.write(place, &path, partial, &hash)?;
                let bytes = stored_bytes(&path)?;
                run.outcome(Outcome::ok(&place.tile, clock.elapsed().as_secs_f64(), bytes));
            }
            for file in place.files() {
                run.input(&file);
            }
            run.output(&path);
            stores.push(path);
        }
        let page = if run.nothing_done() { None } else { Some(report::page(&project.name, &stores)?) };
        run.finish(&self.folder, page)
    }

    /// A table of what would be imported.
    #[must_use]
    pub fn describe(&self) -> Finish {
        let mut text =
            format!("{:<8} {:<18} {:>12} {:>13}  state\n", "tile", "place", "acquisitions", "uncompressed");
        for place in &self.places {
            let pixels = place.scenes.len() * self.grid.size_px * self.grid.size_px;
            let done = is_sealed(&store_path(&self.level1, &place.tile), &self.hash(place));
            text.push_str(&format!(
                "{:<8} {:<18} {:>12} {:>13}  {}\n",
                place.tile,
                place.cube.id,
                place.scenes.len(),
                human_bytes((pixels * (2 * self.assets.len() + 1)) as u64),
                if done { "done" } else { "to do" }
            ));
        }
        Finish::text_only(text.trim_end())
    }

    /// Reads the stores back.
    #[must_use]
    pub fn verify(&self) -> Finish {
        let stores: Vec<_> = self
            .places
            .iter()
            .map(|place| {
                let path = store_path(&self.level1, &place.tile);
                let stale = !is_sealed(&path, &self.hash(place));
                (path, stale.then_some("not built, or built from another plan or other files"))
            })
            .collect();
        verify::verify_stores(&stores)
    }

    fn hash(&self, place: &Place) -> String {
        plan_hash(&(self.version, &self.assets, self.classes, self.grid, &self.digest, &self.statics, place))
    }

    fn write(&self, place: &Place, path: &Path, partial: PathBuf, hash: &str) -> Result<Cube, Error> {
        let weather = place.weather.as_deref().map(read_weather).transpose()?;
        let items: Vec<_> =
            place.scenes.iter().map(|scene| json!({ "id": scene.id, "datetime": scene.datetime })).collect();
        let layout = Layout {
            tile: &place.tile,
            epsg: place.epsg,
            grid: self.grid,
            cubes: 1,
            frames: place.scenes.len(),
            assets: &self.assets,
            classes: self.classes,
            offset: OffsetRule::Metadata,
            same_day: SameDay::Separate,
            smap: None,
            era5: weather.as_ref().map(|w| SeriesLayout { variables: &w.info, days: w.days, window: 1 }),
            statics: &self.statics,
            made_of: None,
            source_items: json!(items),
            gaps: json!([]),
        };
        let writer = CubeWriter::create_in(path, partial, &layout.spec(), hash)?;
        build::write_coordinates(std::slice::from_ref(&place.cube), self.grid, &writer)?;
        build::write_frames(&place.scenes, &frames(&place.scenes, SameDay::Separate), &writer)?;
        for (asset, source) in &place.sources {
            self.write_asset(place, asset, source, &writer)?;
        }
        let cube = std::slice::from_ref(&place.cube);
        statics::write(&self.statics, cube, (self.grid, place.epsg), &self.ledger, &writer)?;
        if let Some(weather) = weather {
            build::write_days("era5/time", weather.first_day, weather.days, &writer)?;
            for (info, values) in weather.info.iter().zip(weather.values) {
                let series = Array1::from(values).insert_axis(Axis(1)).insert_axis(Axis(2));
                writer.write(&format!("era5/{}", info.name), &[0, 0, 0], series.view().into_dyn())?;
            }
        }
        Ok(writer.seal()?)
    }

    fn write_asset(
        &self,
        place: &Place,
        asset: &str,
        source: &Source,
        writer: &CubeWriter,
    ) -> Result<(), Error> {
        let (rows, cols) = source.weights(&place.cube.bounds, self.grid);
        let window = s![.., rows.window.clone(), cols.window.clone()];
        let (size, name) = (self.grid.size_px, format!("s2/{asset}"));
        if asset == "scl" {
            let scl = source.read::<u8>()?;
            let mut out = Array4::zeros((1, place.scenes.len(), size, size));
            let mut frames = out.index_axis_mut(Axis(0), 0);
            for (from, to) in scl.slice(window).axis_iter(Axis(0)).zip(frames.axis_iter_mut(Axis(0))) {
                match self.classes {
                    Classes::Mode => area_mode(from, &rows, &cols, 0, to),
                    Classes::Nearest => nearest(from, &rows, &cols, 0, to),
                }
            }
            return Ok(writer.write(&name, &[0, 0, 0, 0], out.view().into_dyn())?);
        }
        let numbers = source.read::<u16>()?;
        let mut out = Array4::zeros((1, place.scenes.len(), size, size));
        let mut frames = out.index_axis_mut(Axis(0), 0);
        let pairs = numbers.slice(window);
        for ((from, to), scene) in
            pairs.axis_iter(Axis(0)).zip(frames.axis_iter_mut(Axis(0))).zip(&place.scenes)
        {
            area_average(from, &rows, &cols, 0, scene.stored(asset), to);
        }
        Ok(writer.write(&name, &[0, 0, 0, 0], out.view().into_dyn())?)
    }
}

impl Place {
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.sources.values().map(|source| source.path.clone()).collect();
        files.extend(self.weather.clone());
        files.sort();
        files.dedup();
        files
    }
}
