//! The population: every cell that could become a minicube, with its classes and numbers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use minicube::{CellGrid, LonLat, Tile};
use rayon::prelude::*;

use crate::Error;
use crate::aoi::{Aoi, AreaIndex, Lies};
use crate::joint::{Joint, join};
use crate::layers::{Layers, Loss, Readers};
use crate::strata::Cut;
use crate::tiles::{Cell, own_cells};

/// A cell that could become a minicube.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Index into the list of tiles.
    pub tile: u32,
    /// Row in the tile's cell grid.
    pub row: u16,
    /// Column in the tile's cell grid.
    pub col: u16,
    /// Index into [`Population::strata`].
    pub stratum: u32,
    /// Centre, degrees.
    pub center: LonLat,
}

/// A stratum of a single property.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name, e.g. `climate`.
    pub name: String,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// Class of each candidate.
    pub of_cell: Vec<u16>,
    /// Where it was cut out of numbers: the values between the classes.
    pub cuts: Vec<f32>,
}

/// All candidates, and the joint strata they fall into.
#[derive(Clone, Debug)]
pub struct Population {
    /// By tile, row, column.
    pub candidates: Vec<Candidate>,
    /// The single strata.
    pub columns: Vec<Column>,
    /// Numbers by name, one a candidate.
    pub attributes: Vec<(String, Vec<f32>)>,
    /// Joint strata that occur: one class name per column, ascending; `*` where rare ones were merged.
    pub strata: Vec<Vec<String>>,
    /// Candidates in each joint stratum.
    pub sizes: Vec<usize>,
    /// Joint strata that were too rare to stand alone, with their size and the stratum they went to.
    pub merged: Vec<(Vec<String>, usize, u32)>,
    /// Cells that are no candidates, by reason.
    pub lost: BTreeMap<Loss, usize>,
}

/// A stratum that is made of what the rasters say.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Of the classes of the n-th class layer; the geomorphon is the last.
    Class(usize, Vec<String>),
    /// Of a number, cut.
    Number(String, Cut),
}

/// Finds all candidates of the tiles; tiles are worked on in parallel, the result does not depend on how.
/// `sources` names the strata, `tick` is called after each tile. All candidates are in one joint stratum until
/// [`Population::stratify`].
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
    sources: &[(String, Source)],
    tick: impl Fn() + Sync,
) -> Result<Population, Error> {
    // As many sets of open rasters as there are workers: each is used by one worker at a time.
    let pool: Mutex<Vec<Readers>> = Mutex::new(Vec::new());
    let area = aoi.index();
    let per_tile: Vec<OfTile> = tiles
        .par_iter()
        .enumerate()
        .map(|(index, (tile, lies))| {
            let readers = match pool.lock().ok().and_then(|mut idle| idle.pop()) {
                Some(readers) => readers,
                None => Readers::open(layers)?,
            };
            let found = of_tile(index as u32, (tile, *lies), &area, grid, layers, &readers);
            if let Ok(mut idle) = pool.lock() {
                idle.push(readers);
            }
            tick();
            found
        })
        .collect::<Result<_, Error>>()?;

    let mut lost: BTreeMap<Loss, usize> = BTreeMap::new();
    let mut candidates = Vec::with_capacity(per_tile.iter().map(|tile| tile.candidates.len()).sum());
    let mut attributes: Vec<(String, Vec<f32>)> =
        layers.attributes().into_iter().map(|name| (name, Vec::new())).collect();
    let class_layers = layers.classes.len() + usize::from(layers.wants_geomorphons());
    let mut classes: Vec<Vec<u16>> = vec![Vec::new(); class_layers];
    for tile in per_tile {
        let cells = tile.candidates.len();
        candidates.extend(tile.candidates);
        for (layer, into) in classes.iter_mut().enumerate() {
            into.extend((0..cells).map(|cell| tile.classes[cell * class_layers + layer]));
        }
        let width = attributes.len();
        for (index, (_, into)) in attributes.iter_mut().enumerate() {
            into.extend((0..cells).map(|cell| tile.numbers[cell * width + index]));
        }
        for (reason, count) in tile.lost {
            *lost.entry(reason).or_default() += count;
        }
    }
    if candidates.is_empty() {
        return Err(Error::NoCandidates { tiles: tiles.len(), reasons: describe_lost(&lost) });
    }
    let columns = sources.iter().map(|(name, source)| column(name, source, &classes, &attributes)).collect();
    let sizes = vec![candidates.len()];
    Ok(Population {
        candidates,
        columns,
        attributes,
        strata: vec![Vec::new()],
        sizes,
        merged: Vec::new(),
        lost,
    })
}

impl Population {
    /// Puts the candidates into joint strata. `target` gives the number of locations wanted of each, from their names and
    /// sizes; those below `least` are merged, see [`join`].
    #[must_use]
    pub fn stratify(
        mut self,
        target: impl Fn(&[Vec<String>], &[usize]) -> Vec<f64>,
        least: f64,
    ) -> Population {
        let classes: Vec<&[u16]> = self.columns.iter().map(|column| column.of_cell.as_slice()).collect();
        let names: Vec<&[String]> = self.columns.iter().map(|column| column.classes.as_slice()).collect();
        let Joint { strata, sizes, of_cell, merged } =
            join(self.candidates.len(), &classes, &names, target, least);
        for (candidate, stratum) in self.candidates.iter_mut().zip(of_cell) {
            candidate.stratum = stratum;
        }
        Population { strata, sizes, merged, ..self }
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Why cells were lost, in words.
#[must_use]
pub(crate) fn describe_lost(lost: &BTreeMap<Loss, usize>) -> String {
    if lost.is_empty() {
        return "the tiles have no cells of their own".to_owned();
    }
    lost.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}

/// Cells of a tile that are its own and wholly inside the area, and how many of its own are not.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn cells_inside(
    tile: &Tile,
    lies: Lies,
    area: &AreaIndex,
    grid: &CellGrid,
) -> Result<(Vec<Cell>, usize), Error> {
    let mut cells = own_cells(tile, grid)?;
    let all = cells.len();
    if lies != Lies::Inside {
        cells.retain(|cell| area.locate(&cell.corners) == Lies::Inside);
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

/// What a tile gives.
#[derive(Default)]
struct OfTile {
    candidates: Vec<Candidate>,
    /// All classes of the first candidate, of the second, …
    classes: Vec<u16>,
    /// All numbers of the first candidate, of the second, …
    numbers: Vec<f32>,
    lost: BTreeMap<Loss, usize>,
}

fn of_tile(
    index: u32,
    (tile, lies): (&Tile, Lies),
    area: &AreaIndex,
    grid: &CellGrid,
    layers: &Layers,
    readers: &Readers,
) -> Result<OfTile, Error> {
    let (cells, outside) = cells_inside(tile, lies, area, grid)?;
    let places: Vec<(usize, usize)> = cells.iter().map(|cell| (cell.row, cell.col)).collect();
    let mut result = OfTile::default();
    if outside > 0 {
        result.lost.insert(Loss::Outside, outside);
    }
    for (cell, found) in cells.iter().zip(readers.find(layers, tile, grid, &places)?) {
        match found {
            Ok(findings) => {
                let (row, col) = (cell.row as u16, cell.col as u16);
                result.candidates.push(Candidate { tile: index, row, col, stratum: 0, center: cell.center });
                result.classes.extend(findings.classes);
                result.numbers.extend(findings.numbers);
            }
            Err(loss) => *result.lost.entry(loss).or_default() += 1,
        }
    }
    result.candidates.shrink_to_fit();
    result.classes.shrink_to_fit();
    result.numbers.shrink_to_fit();
    Ok(result)
}

fn column(name: &str, source: &Source, classes: &[Vec<u16>], attributes: &[(String, Vec<f32>)]) -> Column {
    let name = name.to_owned();
    match source {
        Source::Class(layer, names) => {
            Column { name, classes: names.clone(), of_cell: classes[*layer].clone(), cuts: Vec::new() }
        }
        Source::Number(attribute, cut) => {
            let values = attributes.iter().find(|(name, _)| name == attribute);
            let done = cut.classify(values.map_or(&[], |(_, values)| values.as_slice()));
            Column { name, classes: done.names, of_cell: done.of_value, cuts: done.cuts }
        }
    }
}
