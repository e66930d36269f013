//! Judges somebody's table of locations: which cells of the population they fall in.

use std::collections::HashMap;

use minicube::{CellGrid, LonLat, Tile};

use crate::Error;
use crate::aoi::Lies;
use crate::candidates::Population;
use crate::points::Points;
use crate::tiles::cell_at;

/// Locations found in a population.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Row of the table and candidate it falls in.
    pub found: Vec<(usize, usize)>,
    /// Rows that share their cell with an earlier row.
    pub repeated: usize,
    /// Rows that fall in no cell: on the strips between cells that no tile owns.
    pub between: usize,
    /// Rows in a cell that is no candidate: outside the area, water, or without data in a raster.
    pub outside: usize,
    /// Locations in each joint stratum.
    pub drawn: Vec<usize>,
}

/// Finds the candidate of every place.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know a zone.
pub fn judge(
    points: &Points,
    tiles: &[(Tile, Lies)],
    population: &Population,
    grid: &CellGrid,
) -> Result<Judged, Error> {
    let number: HashMap<&str, u32> =
        tiles.iter().enumerate().map(|(index, (tile, _))| (tile.id.as_str(), index as u32)).collect();
    let candidates: HashMap<(u32, u16, u16), usize> = population
        .candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| ((candidate.tile, candidate.row, candidate.col), index))
        .collect();
    let drawn = vec![0; population.sizes.len()];
    let mut result = Judged { found: Vec::new(), repeated: 0, between: 0, outside: 0, drawn };
    let mut seen = std::collections::BTreeSet::new();
    for (row, &place) in points.places.iter().enumerate() {
        let Some((tile, cell_row, cell_col)) = cell_at(place, grid)? else {
            result.between += 1;
            continue;
        };
        let candidate = number
            .get(tile.as_str())
            .and_then(|&tile| candidates.get(&(tile, cell_row as u16, cell_col as u16)));
        let Some(&candidate) = candidate else {
            result.outside += 1;
            continue;
        };
        result.repeated += usize::from(!seen.insert(candidate));
        result.drawn[population.candidates[candidate].stratum as usize] += 1;
        result.found.push((row, candidate));
    }
    Ok(result)
}

impl Judged {
    /// Places of the locations that were found.
    #[must_use]
    pub fn places(&self, points: &Points) -> Vec<LonLat> {
        self.found.iter().map(|&(row, _)| points.places[row]).collect()
    }
}
