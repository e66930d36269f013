//! From a population to the table: draw, weigh, split.

use std::collections::BTreeMap;

use minicube::{CellGrid, Location, LocationTable, LonLat, Tile, location_id, sha256_bytes};
use serde_json::{Map, json};

use crate::Error;
use crate::aoi::Lies;
use crate::candidates::{Candidate, Population};
use crate::design::{target_shares, weights};
use crate::draw::{Draw, draw};
use crate::lonlat::to_lon_lat;
use crate::plan::Plan;
use crate::split::{Assignment, assign};
use crate::tiles::ring_of;

/// A finished sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The table as it is written.
    pub table: LocationTable,
    /// Target share of each joint stratum.
    pub shares: Vec<f64>,
    /// What was drawn.
    pub draw: Draw,
    /// Splits of the locations, in the order of the draw.
    pub splits: Assignment,
}

/// Draws the sample of a plan from its population. The same plan and population give the same table.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know a zone.
pub fn sample(
    plan: &Plan,
    plan_hash: &str,
    tiles: &[(Tile, Lies)],
    population: &Population,
) -> Result<Sample, Error> {
    let shares = target_shares(&population.sizes, plan.design, plan.alpha);
    let draw = draw(&population.candidates, &population.sizes, &shares, &plan.rules(), plan.seed);
    let stratum_weights = weights(&population.sizes, &draw.drawn);
    let chosen: Vec<Candidate> = draw.chosen.iter().map(|&index| population.candidates[index]).collect();
    let places: Vec<LonLat> = chosen.iter().map(|candidate| candidate.center).collect();
    let smallest_km = plan.grid.cell_size_m() / 1000.0;
    let splits = assign(&places, plan.split_shares(), plan.split.block_km, smallest_km, plan.seed);

    let mut locations = Vec::with_capacity(chosen.len());
    for (candidate, &split) in chosen.iter().zip(&splits.splits) {
        let tile = &tiles[candidate.tile as usize].0;
        let (row, col) = (usize::from(candidate.row), usize::from(candidate.col));
        let bounds = plan.grid.cell_bounds(tile, row, col);
        let id = location_id(&tile.id, row, col);
        let classes = &population.strata[candidate.stratum as usize];
        locations.push(Location {
            seed: seed_of(plan.seed, &id),
            id,
            tile: tile.id.clone(),
            epsg: tile.epsg,
            row,
            col,
            bounds,
            lon: candidate.center.lon,
            lat: candidate.center.lat,
            strata: population
                .columns
                .iter()
                .map(|name| (*name).to_owned())
                .zip(classes.iter().cloned())
                .collect(),
            attributes: BTreeMap::new(),
            fold: None,
            weight: stratum_weights[candidate.stratum as usize],
            split,
            polygon: outline(tile, &plan.grid, row, col)?,
        });
    }
    locations.sort_by(|a, b| a.id.cmp(&b.id));
    let meta = metadata(plan, plan_hash, population, &draw, &splits);
    Ok(Sample { table: LocationTable { locations, grid: plan.grid, meta }, shares, draw, splits })
}

/// The closed outline of a cell in degrees, counter-clockwise from the lower-left corner.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn outline(tile: &Tile, grid: &CellGrid, row: usize, col: usize) -> Result<Vec<LonLat>, Error> {
    let mut ring = ring_of(&grid.cell_bounds(tile, row, col), 1);
    ring.extend(ring.first().copied());
    to_lon_lat(tile.epsg, &ring)
}

/// Seed of a location: the first 60 bits of SHA-256 of the project's seed and the location's id.
#[must_use]
pub fn seed_of(seed: u64, id: &str) -> i64 {
    let digest = sha256_bytes(format!("{seed}/{id}").as_bytes());
    i64::from_str_radix(&digest[..15], 16).unwrap_or_default()
}

fn metadata(
    plan: &Plan,
    plan_hash: &str,
    population: &Population,
    draw: &Draw,
    splits: &Assignment,
) -> Map<String, serde_json::Value> {
    let lost: BTreeMap<&str, usize> = population.lost.reasons().into_iter().collect();
    let entries = json!({
        "plan_hash": plan_hash,
        "version": env!("CARGO_PKG_VERSION"),
        "area": plan.area.name,
        "seed": plan.seed,
        "design": plan.design,
        "alpha": plan.alpha,
        "population": population.candidates.len(),
        "not_in_population": lost,
        "wanted": plan.count,
        "drawn": draw.chosen.len(),
        "entropy_cuts": population.entropy_cuts.map(f64::from),
        "split_block_km": splits.block_km,
        "sources": plan.rasters.iter().map(|(name, raster)| (*name, raster.source.as_str())).collect::<BTreeMap<_, _>>(),
        "products": plan.products,
    });
    entries.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_place_and_project() {
        assert_eq!(seed_of(42, "35KMQ_1715"), seed_of(42, "35KMQ_1715"));
        assert_ne!(seed_of(42, "35KMQ_1715"), seed_of(42, "35KMQ_1716"));
        assert_ne!(seed_of(42, "35KMQ_1715"), seed_of(43, "35KMQ_1715"));
        assert!(seed_of(42, "35KMQ_1715") >= 0);
    }

    #[test]
    fn outlines_are_closed_and_counter_clockwise() {
        let ring = outline(&Tile::from_id("35KMQ").unwrap(), &CellGrid::default(), 3, 4).unwrap();
        assert_eq!((ring.len(), ring[0]), (5, ring[4]));
        let area: f64 = ring.windows(2).map(|p| p[0].lon * p[1].lat - p[1].lon * p[0].lat).sum();
        assert!(area > 0.0);
    }
}
