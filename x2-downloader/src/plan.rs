//! What will run: the section checked, the locations read, the tiles with their wanted cells.

use std::path::PathBuf;

use minicube::run::{Config, Failure, Project};
use minicube::{Bounds, Epsg, Location, LocationTable, NaiveDate};
use serde::{Serialize, Serializer};
use url::Url;

use crate::allow::Hosts;
use crate::config::{Download, Mode};
use crate::net::Credentials;
use crate::source::era5_config::{self, Era5Plan};
use crate::source::smap_config::{self, SmapPlan};
use crate::source::{rasters, static_tiles};
use crate::{Error, ledger};

/// The resolved plan. Serialised it is the identity of the raw data: settings of the network and absolute paths are
/// not part of it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The project.
    pub project: Project,
    /// First day of the data.
    pub first: NaiveDate,
    /// Last day of the data.
    pub last: NaiveDate,
    /// The tiles, ascending by id.
    pub tiles: Vec<TilePlan>,
    /// What is fetched of Sentinel-2; `None` if no assets are wanted.
    pub sentinel2: Option<Sentinel2Plan>,
    /// What is fetched of SMAP.
    pub smap: Option<SmapPlan>,
    /// What is fetched of ERA5.
    pub era5: Option<Era5Plan>,
    /// Elevation rasters.
    pub dem: Vec<Place>,
    /// Land-cover rasters.
    pub landcover: Vec<Place>,
    /// How far around the wanted cells elevation is taken, degrees.
    pub static_margin_deg: f64,
    /// West, south, east, north of each wanted cell, degrees; west > east across the antimeridian.
    #[serde(skip)]
    pub(crate) boxes: Vec<[f64; 4]>,
    #[serde(skip)]
    pub(crate) network: Network,
}

/// One Sentinel-2 tile and what is wanted of it.
#[derive(Clone, Debug, Serialize)]
pub struct TilePlan {
    /// Tile id.
    pub id: String,
    /// UTM zone.
    pub epsg: Epsg,
    /// West, south, east, north of all cells, degrees; west > east across the antimeridian.
    pub search_box: [f64; 4],
    /// The wanted cells, ascending by id.
    pub cells: Vec<Cell>,
}

/// A wanted cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Location id.
    pub id: String,
    /// Extent, UTM metres.
    pub bounds: Bounds,
}

/// What is fetched of Sentinel-2.
#[derive(Clone, Debug, Serialize)]
pub struct Sentinel2Plan {
    /// The STAC API.
    #[serde(serialize_with = "identity_of_url")]
    pub stac: Url,
    /// Its collection.
    pub collection: String,
    /// Asset keys without `scl`.
    pub assets: Vec<String>,
    /// Whether the scene classification is fetched.
    pub scl: bool,
    /// Cloud limit of a scene, percent.
    pub max_cloud_cover: f64,
    /// Wanted relative orbits; empty: all.
    pub orbits: Vec<u32>,
    /// Wanted months; empty: all.
    pub months: Vec<u32>,
    /// Rule for leaving out cloudy blocks; `None` to fetch all.
    pub cloud_rule: Option<CloudRule>,
    #[serde(skip)]
    pub(crate) hosts: Hosts,
}

/// When a block is clear enough to be fetched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudRule {
    /// Scene classes that count as clear.
    pub clear_classes: Vec<u8>,
    /// Share of clear pixels that some cube must exceed within the block.
    pub min_clear_fraction: f64,
}

/// An address or a local file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// An address.
    #[serde(serialize_with = "identity_of_url")]
    Remote(Url),
    /// An address under which a tile of a product is, unless the tile is all sea.
    #[serde(serialize_with = "identity_of_url")]
    Tile(Url),
    /// A local path; only its name belongs to the plan's identity.
    #[serde(serialize_with = "name_of_path")]
    Local(PathBuf),
}

/// How requests are made; has no influence on the data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    pub(crate) connections_per_host: usize,
    pub(crate) requests_per_s: f64,
    pub(crate) retries: u32,
    pub(crate) timeout_s: f64,
    pub(crate) stall_s: f64,
    pub(crate) deadline_s: f64,
    pub(crate) coalesce_gap_bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) credentials: Credentials,
}

impl Plan {
    /// Reads the section and the location table and checks both.
    ///
    /// # Errors
    /// A [`Failure`] naming the key, or the table, with a hint.
    pub fn load(config: &Config) -> Result<Plan, Failure> {
        let section: Download = config.section("download")?;
        let table = LocationTable::read(&config.project.locations())?;
        Ok(Plan::new(config.project.clone(), &section, &table)?)
    }

    /// Resolves a section for the given locations.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems at once.
    pub fn new(project: Project, section: &Download, table: &LocationTable) -> Result<Plan, Error> {
        let mut problems = Vec::new();
        let wants_scenes = !section.assets.is_empty();
        let stac = wants_scenes.then(|| http_url("stac", &section.stac, &mut problems)).flatten();
        let smap = section.smap.as_ref().and_then(|smap| smap_config::resolve(smap, table, &mut problems));
        let era5 = section.era5.as_ref().and_then(|era5| era5_config::resolve(era5, &mut problems));
        check(section, &project, table, &mut problems);
        let credentials = Credentials::load(section).unwrap_or_else(|more| {
            problems.extend(more);
            Credentials::default()
        });
        let boxes = static_tiles::cell_boxes(table);
        let static_margin_deg = section.static_margin_deg.max(rasters::NEAR_DEG);
        let mut statics = |key: &str, texts: &[String], margin: f64| -> Vec<Place> {
            let mut found = Vec::new();
            for text in texts {
                match static_tiles::expand(text, &boxes, margin) {
                    Ok(places) => found.extend(places),
                    Err(problem) => problems.push(format!("{key}: {problem}")),
                }
            }
            problems.extend(name_twice(key, &found));
            found
        };
        let dem = statics("dem", &section.dem, static_margin_deg);
        let landcover = statics("landcover", &section.landcover, rasters::NEAR_DEG);
        if !problems.is_empty() {
            return Err(Error::Config { problems: problems.join("; ") });
        }
        let cloud_rule = (section.skip_cloudy_blocks && section.scl).then(|| CloudRule {
            clear_classes: section.clear_classes.clone(),
            min_clear_fraction: section.min_clear_fraction,
        });
        let sentinel2 = stac.map(|stac| Sentinel2Plan {
            hosts: Hosts::of_catalogue(&stac, &section.hosts),
            stac,
            collection: section.collection.clone(),
            assets: section.assets.iter().filter(|asset| *asset != "scl").cloned().collect(),
            scl: section.scl,
            max_cloud_cover: section.max_cloud_cover,
            orbits: section.orbits.clone(),
            months: section.months.clone(),
            cloud_rule,
        });
        let tiles = table.tiles().into_iter().map(|(id, locations)| tile(id, &locations)).collect();
        let [first, last] = section.days.unwrap_or([project.first_day(), project.last_day()]);
        let network = Network {
            mode: section.mode,
            connections: section.connections,
            connections_per_host: section.connections_per_host,
            requests_per_s: section.requests_per_s,
            retries: section.retries,
            timeout_s: section.timeout_s,
            stall_s: section.stall_s,
            deadline_s: section.deadline_s,
            coalesce_gap_bytes: section.coalesce_gap_bytes,
            header_bytes: section.header_bytes,
            credentials,
        };
        Ok(Plan {
            project,
            first,
            last,
            tiles,
            sentinel2,
            smap,
            era5,
            dem,
            landcover,
            static_margin_deg,
            boxes,
            network,
        })
    }
}

impl Place {
    /// File name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Place::Remote(url) | Place::Tile(url) => {
                url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or("").to_owned()
            }
            Place::Local(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

fn check(section: &Download, project: &Project, table: &LocationTable, problems: &mut Vec<String>) {
    let mut expect = |ok: bool, problem: String| {
        if !ok {
            problems.push(problem);
        }
    };
    expect(!table.locations.is_empty(), "the location table is empty".into());
    for asset in &section.assets {
        expect(ledger::is_safe_name(asset), format!("assets: expected an asset key, found `{asset}`"));
    }
    let (cover, clear) = (section.max_cloud_cover, section.min_clear_fraction);
    expect((0.0..=100.0).contains(&cover), format!("max_cloud_cover: expected 0 to 100, found {cover}"));
    expect((0.0..1.0).contains(&clear), format!("min_clear_fraction: expected 0 to below 1, found {clear}"));
    let classes = &section.clear_classes;
    expect(
        classes.iter().all(|c| (1..=11).contains(c)),
        format!("clear_classes: expected 1 to 11, found {classes:?}"),
    );
    let connections = section.connections;
    expect((1..=256).contains(&connections), format!("connections: expected 1 to 256, found {connections}"));
    let per_host = section.connections_per_host;
    expect(
        (1..=256).contains(&per_host),
        format!("connections_per_host: expected 1 to 256, found {per_host}"),
    );
    let rate = section.requests_per_s;
    expect((0.0..=1e6).contains(&rate), format!("requests_per_s: expected 0 or more, found {rate}"));
    let (orbits, months) = (&section.orbits, &section.months);
    expect(
        orbits.iter().all(|o| (1..=143).contains(o)),
        format!("orbits: expected 1 to 143, found {orbits:?}"),
    );
    expect(
        months.iter().all(|m| (1..=12).contains(m)),
        format!("months: expected 1 to 12, found {months:?}"),
    );
    if let Some([from, to]) = section.days {
        let (first, last) = (project.first_day(), project.last_day());
        expect(
            first <= from && from <= to && to <= last,
            format!("days: expected two days from {first} to {last} in order, found {from} and {to}"),
        );
    }
    let times =
        [("timeout_s", section.timeout_s), ("stall_s", section.stall_s), ("deadline_s", section.deadline_s)];
    for (key, value) in times {
        expect((0.01..=86_400.0).contains(&value), format!("{key}: expected 0.01 to 86400, found {value}"));
    }
    let margin = section.static_margin_deg;
    expect((0.0..=10.0).contains(&margin), format!("static_margin_deg: expected 0 to 10, found {margin}"));
    let header = section.header_bytes;
    expect(
        (512..=1 << 24).contains(&header),
        format!("header_bytes: expected 512 to 16777216, found {header}"),
    );
}

/// An address that must be of the web, or a problem.
pub(crate) fn http_url(key: &str, text: &str, problems: &mut Vec<String>) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Some(url),
        _ => {
            problems.push(format!("{key}: expected an http(s) address, found `{}`", without_query(text)));
            None
        }
    }
}

/// A problem if two files would get the same name.
pub(crate) fn name_twice(key: &str, places: &[Place]) -> Option<String> {
    let mut names: Vec<String> = places.iter().map(Place::name).collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(format!("{key}: two files are named {}", twice[0]))
}

/// An address, or else a local path.
pub(crate) fn place(text: &str) -> Place {
    match Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Place::Remote(url),
        _ => Place::Local(PathBuf::from(text)),
    }
}

fn tile(id: String, locations: &[&Location]) -> TilePlan {
    let mut cells: Vec<Cell> =
        locations.iter().map(|l| Cell { id: l.id.clone(), bounds: l.bounds }).collect();
    cells.sort_by(|a, b| a.id.cmp(&b.id));
    let epsg = locations.first().map_or(Epsg::WGS84, |location| location.epsg);
    TilePlan { id, epsg, search_box: search_box(locations), cells }
}

/// The box of all outlines in degrees; where there are no outlines, of the centres and 0.02° around.
fn search_box(locations: &[&Location]) -> [f64; 4] {
    let mut points: Vec<(f64, f64)> =
        locations.iter().flat_map(|l| &l.polygon).map(|point| (point.lon, point.lat)).collect();
    if points.is_empty() {
        let corners = [(-0.02, -0.02), (0.02, 0.02)];
        points = locations.iter().flat_map(|l| corners.map(|(x, y)| (l.lon + x, l.lat + y))).collect();
    }
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (south, north) = range(&mut points.iter().map(|p| p.1));
    let (mut west, mut east) = range(&mut points.iter().map(|p| p.0));
    if east - west > 180.0 {
        west = range(&mut points.iter().map(|p| p.0).filter(|lon| *lon > 0.0)).0;
        east = range(&mut points.iter().map(|p| p.0).filter(|lon| *lon <= 0.0)).1;
    }
    [west, south, east, north]
}

/// An address as part of an identity: no credentials, no query, and no port on this machine, where a server started
/// twice gets another one.
pub(crate) fn identity_text(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let local = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    let port = url.port().filter(|_| !local).map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

pub(crate) fn identity<S: Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(identity_text).serialize(serializer)
}

pub(crate) fn identity_of_url<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&identity_text(url))
}

fn name_of_path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.file_name().unwrap_or_default().to_string_lossy())
}

fn without_query(text: &str) -> &str {
    text.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_server_is_the_same_on_any_port_and_no_secret_is_kept() {
        let text = |url: &str| identity_text(&Url::parse(url).unwrap());
        assert_eq!(text("http://127.0.0.1:8917/stac"), text("http://127.0.0.1:40001/stac"));
        assert_eq!(text("https://user:secret@host:81/v1?token=secret"), "https://host:81/v1");
        assert_ne!(text("https://host:81/v1"), text("https://host:82/v1"));
    }

    #[test]
    fn an_address_is_told_from_a_path() {
        let Place::Remote(url) = place("https://host/a/dem.tif?x=1") else { panic!("not remote") };
        assert_eq!(Place::Remote(url).name(), "dem.tif");
        assert_eq!(place("rasters/dem.tif"), Place::Local("rasters/dem.tif".into()));
    }
}
