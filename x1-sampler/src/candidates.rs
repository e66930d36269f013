//! The population: every cell that could become a minicube, with its classes.

use std::sync::Mutex;

use minicube::{CellGrid, LonLat, Tile};
use ndarray::Array2;
use rayon::prelude::*;

use crate::aoi::{Aoi, Lies};
use crate::legend::Legend;
use crate::raster::{Raster, RasterSpec};
use crate::strata::{Composition, HETEROGENEITY, TOPOGRAPHY, relief, relief_class, tertile_class, tertiles};
use crate::tiles::{Cell, own_cells};
use crate::{Error, design};

/// A raster of classes and what they mean.
#[derive(Clone, Debug)]
pub struct ClassLayer {
    /// Where it is.
    pub raster: RasterSpec,
    /// What its values mean.
    pub legend: Legend,
}

/// The rasters of a sample, and how cells are judged by them.
#[derive(Clone, Debug)]
pub struct Layers {
    /// Climate zones.
    pub climate: Option<ClassLayer>,
    /// Land cover.
    pub landcover: Option<ClassLayer>,
    /// Elevation, metres.
    pub dem: Option<RasterSpec>,
    /// Points along an edge of a cell.
    pub samples: usize,
    /// Largest share of water.
    pub water_max: f64,
    /// Reliefs at which the topography classes begin, metres.
    pub relief_m: [f64; 3],
}

/// A cell that could become a minicube.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Index into the list of tiles.
    pub tile: u32,
    /// Row in the tile's cell grid.
    pub row: u16,
    /// Column in the tile's cell grid.
    pub col: u16,
    /// Centre, degrees.
    pub center: LonLat,
    /// Index into [`Population::strata`].
    pub stratum: u32,
}

/// Cells that are no candidates, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Not wholly inside the area of interest.
    pub outside: usize,
    /// More water than allowed.
    pub water: usize,
    /// No data in the climate raster.
    pub no_climate: usize,
    /// No data in the land-cover raster.
    pub no_landcover: usize,
    /// No data in the elevation raster.
    pub no_dem: usize,
}

/// All candidates, and the joint strata they fall into.
#[derive(Clone, Debug)]
pub struct Population {
    /// By tile, row, column.
    pub candidates: Vec<Candidate>,
    /// Names of the strata columns.
    pub columns: Vec<&'static str>,
    /// Joint strata that occur: one class name per column, ascending.
    pub strata: Vec<Vec<String>>,
    /// Candidates in each joint stratum.
    pub sizes: Vec<usize>,
    /// Cells that are no candidates.
    pub lost: Lost,
    /// Entropies (nats) that cut the heterogeneity classes.
    pub entropy_cuts: [f32; 2],
}

/// A candidate before the heterogeneity classes are known.
struct Raw {
    tile: u32,
    row: u16,
    col: u16,
    center: LonLat,
    climate: u16,
    landcover: u16,
    topography: u16,
    entropy: f32,
}

/// Finds all candidates of the tiles; tiles are worked on in parallel, the result does not depend on how.
/// `tick` is called after each tile.
///
/// # Errors
/// - [`Error::Raster`] if a raster cannot be read,
/// - [`Error::UnknownClass`] if it holds a value that its legend does not know,
/// - [`Error::NoCandidates`] if nothing is left.
pub fn find(
    tiles: &[(Tile, Lies)],
    aoi: &Aoi,
    grid: &CellGrid,
    layers: &Layers,
    tick: impl Fn() + Sync,
) -> Result<Population, Error> {
    // As many sets of open rasters as there are workers: each is used by one worker at a time.
    let pool: Mutex<Vec<Readers>> = Mutex::new(Vec::new());
    let per_tile: Vec<(Vec<Raw>, Lost)> = tiles
        .par_iter()
        .enumerate()
        .map(|(index, (tile, lies))| {
            let readers = match pool.lock().ok().and_then(|mut idle| idle.pop()) {
                Some(readers) => readers,
                None => Readers::open(layers)?,
            };
            let found = of_tile(index as u32, tile, *lies, aoi, grid, layers, &readers);
            if let Ok(mut idle) = pool.lock() {
                idle.push(readers);
            }
            tick();
            found
        })
        .collect::<Result<_, Error>>()?;
    let mut lost = Lost::default();
    let mut raw = Vec::new();
    for (cells, of_tile) in per_tile {
        raw.extend(cells);
        lost.add(&of_tile);
    }
    if raw.is_empty() {
        return Err(Error::NoCandidates { tiles: tiles.len(), reasons: lost.to_string() });
    }
    Ok(classify(&raw, layers, lost))
}

/// Cells of a tile that are its own and wholly inside the area, and how many of its own are not.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn cells_inside(
    tile: &Tile,
    lies: Lies,
    aoi: &Aoi,
    grid: &CellGrid,
) -> Result<(Vec<Cell>, usize), Error> {
    let mut cells = own_cells(tile, grid)?;
    let all = cells.len();
    if lies != Lies::Inside {
        cells.retain(|cell| aoi.locate(&cell.corners) == Lies::Inside);
    }
    let outside = all - cells.len();
    Ok((cells, outside))
}

/// Opens every raster once and says what is wrong with the first that does not open.
///
/// # Errors
/// [`Error::Raster`].
pub fn check_rasters(layers: &Layers) -> Result<(), Error> {
    Readers::open(layers).map(drop)
}

/// One set of open rasters.
struct Readers {
    climate: Option<Raster>,
    landcover: Option<Raster>,
    dem: Option<Raster>,
}

impl Readers {
    fn open(layers: &Layers) -> Result<Readers, Error> {
        let class =
            |layer: &Option<ClassLayer>| layer.as_ref().map(|layer| Raster::open(&layer.raster)).transpose();
        Ok(Readers {
            climate: class(&layers.climate)?,
            landcover: class(&layers.landcover)?,
            dem: layers.dem.as_ref().map(Raster::open).transpose()?,
        })
    }
}

fn of_tile(
    index: u32,
    tile: &Tile,
    lies: Lies,
    aoi: &Aoi,
    grid: &CellGrid,
    layers: &Layers,
    readers: &Readers,
) -> Result<(Vec<Raw>, Lost), Error> {
    let (cells, outside) = cells_inside(tile, lies, aoi, grid)?;
    let mut lost = Lost { outside, ..Lost::default() };
    let places: Vec<(usize, usize)> = cells.iter().map(|cell| (cell.row, cell.col)).collect();
    let look_up = |raster: &Option<Raster>| -> Result<Option<Array2<f32>>, Error> {
        raster.as_ref().map(|raster| raster.sample(tile, grid, &places, layers.samples)).transpose()
    };
    let (climate, landcover, dem) =
        (look_up(&readers.climate)?, look_up(&readers.landcover)?, look_up(&readers.dem)?);

    let mut found = Vec::with_capacity(cells.len());
    for (position, cell) in cells.iter().enumerate() {
        let mut raw = Raw {
            tile: index,
            row: cell.row as u16,
            col: cell.col as u16,
            center: cell.center,
            climate: 0,
            landcover: 0,
            topography: 0,
            entropy: 0.0,
        };
        if let (Some(layer), Some(values)) = (&layers.landcover, &landcover) {
            let Some(composition) = composition(layer, values, position, tile)? else {
                lost.no_landcover += 1;
                continue;
            };
            if composition.water_share(&layer.legend) > layers.water_max {
                lost.water += 1;
                continue;
            }
            raw.landcover = composition.dominant() as u16;
            raw.entropy = composition.entropy() as f32;
        }
        if let (Some(layer), Some(values)) = (&layers.climate, &climate) {
            let Some(composition) = composition(layer, values, position, tile)? else {
                lost.no_climate += 1;
                continue;
            };
            if layer.legend.is_water[composition.dominant()] {
                lost.water += 1;
                continue;
            }
            raw.climate = composition.dominant() as u16;
        }
        if let Some(values) = &dem {
            let Some(relief) = values.row(position).as_slice().and_then(relief) else {
                lost.no_dem += 1;
                continue;
            };
            raw.topography = relief_class(relief, &layers.relief_m) as u16;
        }
        found.push(raw);
    }
    Ok((found, lost))
}

fn composition(
    layer: &ClassLayer,
    values: &Array2<f32>,
    position: usize,
    tile: &Tile,
) -> Result<Option<Composition>, Error> {
    let row = values.row(position);
    Composition::of(row.as_slice().unwrap_or_default(), &layer.legend).map_err(|value| Error::UnknownClass {
        stratum: layer.raster.stratum,
        source_name: layer.raster.source.clone(),
        value,
        tile: tile.id.clone(),
        legend: layer.legend.name.clone(),
    })
}

/// Cuts heterogeneity into tertiles and numbers the joint strata.
fn classify(raw: &[Raw], layers: &Layers, lost: Lost) -> Population {
    let entropy_cuts = tertiles(raw.iter().map(|cell| cell.entropy));
    let mut columns = Vec::new();
    columns.extend(layers.climate.is_some().then_some("climate"));
    columns
        .extend(layers.landcover.is_some().then_some(["landcover", "heterogeneity"]).into_iter().flatten());
    columns.extend(layers.dem.is_some().then_some("topography"));
    let names = |cell: &Raw| -> Vec<String> {
        let mut names = Vec::with_capacity(columns.len());
        if let Some(layer) = &layers.climate {
            names.push(layer.legend.classes[usize::from(cell.climate)].clone());
        }
        if let Some(layer) = &layers.landcover {
            names.push(layer.legend.classes[usize::from(cell.landcover)].clone());
            names.push(HETEROGENEITY[tertile_class(cell.entropy, entropy_cuts)].to_owned());
        }
        if layers.dem.is_some() {
            names.push(TOPOGRAPHY[usize::from(cell.topography)].to_owned());
        }
        names
    };
    let key = |cell: &Raw| {
        (cell.climate, cell.landcover, tertile_class(cell.entropy, entropy_cuts), cell.topography)
    };
    let (strata, sizes, of_cell) = design::number_strata(raw.iter().map(|cell| (key(cell), cell)), names);
    let candidates = raw
        .iter()
        .zip(of_cell)
        .map(|(cell, stratum)| Candidate {
            tile: cell.tile,
            row: cell.row,
            col: cell.col,
            center: cell.center,
            stratum,
        })
        .collect();
    Population { candidates, columns, strata, sizes, lost, entropy_cuts }
}

impl Lost {
    fn add(&mut self, other: &Lost) {
        self.outside += other.outside;
        self.water += other.water;
        self.no_climate += other.no_climate;
        self.no_landcover += other.no_landcover;
        self.no_dem += other.no_dem;
    }

    /// Reason and number, for those that happened.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, usize)> {
        let all = [
            ("not wholly in the area", self.outside),
            ("water", self.water),
            ("no climate data", self.no_climate),
            ("no land-cover data", self.no_landcover),
            ("no elevation data", self.no_dem),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> =
            self.reasons().iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        f.write_str(&if parts.is_empty() {
            "the tiles have no cells of their own".to_owned()
        } else {
            parts.join(", ")
        })
    }
}
