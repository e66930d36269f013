//! Proves a table of locations: every rule that the sampler promises, checked on what was written.

use std::collections::{BTreeMap, BTreeSet};

use minicube::{Location, LocationTable, Split, Tile, location_id};

use crate::Error;
use crate::tiles::{Cell, own_cells};

/// Degrees; a millimetre on the ground is 1e-8.
const TOLERANCE_DEG: f64 = 1e-8;

/// Everything that is wrong with a table; empty if it keeps all promises:
/// ids are unique and match tile, row and column; bounds are those of the cell; the cell is its tile's own, so that no
/// two locations share ground; centre and outline agree with PROJ; every location has every stratum; weights are positive
/// with mean 1.
///
/// # Errors
/// [`Error::Projection`] if PROJ fails.
pub fn violations(table: &LocationTable) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let strata = table.strata();
    let mut seen = BTreeSet::new();
    for location in &table.locations {
        if !seen.insert(&location.id) {
            found.push(format!("{}: the id occurs twice", location.id));
        }
        if location.id != location_id(&location.tile, location.row, location.col) {
            found.push(format!("{}: the id does not match tile, row and column", location.id));
        }
        if !(location.weight.is_finite() && location.weight > 0.0) {
            found.push(format!("{}: weight {} is not positive", location.id, location.weight));
        }
        found.extend(
            strata
                .iter()
                .filter(|name| !location.strata.contains_key(*name))
                .map(|name| format!("{}: no class in stratum {name}", location.id)),
        );
    }
    if !table.locations.is_sorted_by(|a, b| a.id <= b.id) {
        found.push("the locations are not ascending by id".to_owned());
    }
    let count = table.locations.len();
    let mean = table.locations.iter().map(|location| location.weight).sum::<f64>() / count as f64;
    if count > 0 && (mean - 1.0).abs() > 1e-9 {
        found.push(format!("the mean weight is {mean}, expected 1"));
    }
    for (id, locations) in table.tiles() {
        match Tile::from_id(&id) {
            Ok(tile) => check_tile(&tile, &locations, table, &mut found)?,
            Err(error) => found.push(error.to_string()),
        }
    }
    Ok(found)
}

/// Locations of each split.
#[must_use]
pub fn split_counts(table: &LocationTable) -> BTreeMap<Split, usize> {
    let mut counts = BTreeMap::new();
    for location in &table.locations {
        *counts.entry(location.split).or_default() += 1;
    }
    counts
}

fn check_tile(
    tile: &Tile,
    locations: &[&Location],
    table: &LocationTable,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let own: BTreeMap<(usize, usize), Cell> =
        own_cells(tile, &table.grid)?.into_iter().map(|cell| ((cell.row, cell.col), cell)).collect();
    for location in locations {
        let Some(cell) = own.get(&(location.row, location.col)) else {
            found.push(format!(
                "{}: the cell is not the tile's own, it may share ground with another",
                location.id
            ));
            continue;
        };
        if location.bounds != cell.bounds || location.epsg != tile.epsg {
            found.push(format!("{}: bounds or EPSG are not those of the cell", location.id));
        }
        let ring: Vec<(f64, f64)> = location.polygon.iter().map(|point| (point.lon, point.lat)).collect();
        let expected = cell.corners.iter().chain(cell.corners.first()).map(|point| (point.lon, point.lat));
        let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs().max((a.1 - b.1).abs()) < TOLERANCE_DEG;
        if !near((location.lon, location.lat), (cell.center.lon, cell.center.lat)) {
            found.push(format!("{}: lon/lat is not the centre of the cell", location.id));
        }
        if ring.len() != 5 || !ring.into_iter().zip(expected).all(|(a, b)| near(a, b)) {
            found.push(format!("{}: the outline is not that of the cell", location.id));
        }
    }
    Ok(())
}
