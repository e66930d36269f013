//! From a population to the table: draw, weigh, split.

use std::collections::{BTreeMap, BTreeSet};

use minicube::{CellGrid, Location, LocationTable, LonLat, Split, Tile, location_id, sha256_bytes};
use serde_json::{Map, json};

use crate::Error;
use crate::aoi::Lies;
use crate::candidates::{Candidate, Population};
use crate::design::weights;
use crate::draw::{Draw, Rules, draw};
use crate::lonlat::to_lon_lat;
use crate::plan::Plan;
use crate::split::{Assignment, SplitRules, assign, folds};
use crate::tiles::ring_of;
use crate::top_tiles::top_tiles;

/// Name of the attribute with the chance that a location had to be drawn.
pub const INCLUSION: &str = "inclusion_probability";

/// A finished sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The table as it is written.
    pub table: LocationTable,
    /// Candidate of each location, in the order of the table.
    pub chosen: Vec<usize>,
    /// Target share of each joint stratum.
    pub shares: Vec<f64>,
    /// What was drawn.
    pub draw: Draw,
    /// The same draw without distance and cap, where there is such a limit: what it cost.
    pub unlimited: Option<Draw>,
    /// The tiles that could be used, where there is a budget.
    pub tiles: Option<BTreeSet<u32>>,
    /// Blocks of the splits.
    pub splits: Assignment,
    /// Locations that had to leave the buffers between splits and were drawn anew.
    pub displaced: usize,
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
    let candidates = &population.candidates;
    let shares = plan.shares.of(&plan.columns(), &population.strata, &population.sizes);
    let best_tiles = plan.tiles_max.map(|budget| {
        let targets: Vec<f64> = shares.iter().map(|share| share * plan.count as f64).collect();
        top_tiles(candidates, &targets, plan.per_tile_max.unwrap_or(usize::MAX), budget)
    });
    let in_budget =
        |candidate: &Candidate| best_tiles.as_ref().is_none_or(|tiles| tiles.contains(&candidate.tile));
    let first = draw(candidates, &shares, &plan.rules(), in_budget);
    let limited = plan.min_distance_m > 0.0 || plan.per_tile_max.is_some();
    let unlimited = limited.then(|| {
        let rules = Rules { min_distance_m: 0.0, per_tile_max: None, ..plan.rules() };
        draw(candidates, &shares, &rules, in_budget)
    });

    let places =
        |draw: &Draw| -> Vec<LonLat> { draw.chosen.iter().map(|&index| candidates[index].center).collect() };
    let classes = |draw: &Draw| -> Option<Vec<u16>> {
        let column = population.column(plan.split.stratify.as_deref()?)?;
        Some(draw.chosen.iter().map(|&index| column.of_cell[index]).collect())
    };
    let first_classes = classes(&first);
    let mut splits = assign(
        &places(&first),
        &SplitRules {
            shares: plan.split_shares(),
            block_km: plan.split.block_km,
            smallest_km: plan.grid.cell_size_m() / 1000.0,
            classes: first_classes.as_deref(),
            seed: plan.seed,
        },
    );
    // Blocks are dealt out for the first draw; the second one keeps out of the buffers between them.
    let buffer = plan.split.buffer_km;
    let (draw, displaced) = if buffer > 0.0 {
        let out = |candidate: &Candidate| splits.in_buffer(candidate.center, buffer);
        let displaced = first.chosen.iter().filter(|&&index| out(&candidates[index])).count();
        let second =
            draw(candidates, &shares, &plan.rules(), |candidate| in_budget(candidate) && !out(candidate));
        splits.splits = places(&second).into_iter().map(|place| splits.split_at(place)).collect();
        (second, displaced)
    } else {
        (first, 0)
    };
    let fold_of = (plan.split.folds > 0).then(|| {
        let classes = classes(&draw);
        folds(&places(&draw), plan.split.folds, splits.block_km, classes.as_deref(), plan.seed)
    });

    let weights = weights(&population.sizes, &draw.drawn);
    let mut rows = Vec::with_capacity(draw.chosen.len());
    for (position, &index) in draw.chosen.iter().enumerate() {
        let tile = &tiles[candidates[index].tile as usize].0;
        let mut location = location(plan, tile, population, index)?;
        let stratum = candidates[index].stratum as usize;
        location.attributes.insert(INCLUSION.into(), draw.drawn[stratum] as f64 / draw.open[stratum] as f64);
        location.weight = weights[stratum];
        location.split = splits.splits[position];
        location.fold = fold_of.as_ref().map(|folds| folds[position]);
        rows.push((location, index));
    }
    rows.sort_by(|a, b| a.0.id.cmp(&b.0.id));
    let (locations, chosen) = rows.into_iter().unzip();
    let meta = metadata(plan, plan_hash, population, &draw, &splits);
    let table = LocationTable { locations, grid: plan.grid, meta };
    Ok(Sample { table, chosen, shares, draw, unlimited, tiles: best_tiles, splits, displaced })
}

/// A candidate as a location, still without weight, split and fold.
fn location(plan: &Plan, tile: &Tile, population: &Population, index: usize) -> Result<Location, Error> {
    let candidate = &population.candidates[index];
    let (row, col) = (usize::from(candidate.row), usize::from(candidate.col));
    let id = location_id(&tile.id, row, col);
    let class = |column: &crate::candidates::Column| {
        (column.name.clone(), column.classes[usize::from(column.of_cell[index])].clone())
    };
    let number = |(name, values): &(String, Vec<f32>)| (name.clone(), f64::from(values[index]));
    Ok(Location {
        seed: seed_of(plan.seed, &id),
        id,
        tile: tile.id.clone(),
        epsg: tile.epsg,
        row,
        col,
        bounds: plan.grid.cell_bounds(tile, row, col),
        lon: candidate.center.lon,
        lat: candidate.center.lat,
        strata: population.columns.iter().map(class).collect(),
        attributes: population.attributes.iter().map(number).collect(),
        weight: 1.0,
        split: Split::Train,
        fold: None,
        polygon: outline(tile, &plan.grid, row, col)?,
    })
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
    let lost: BTreeMap<String, usize> =
        population.lost.iter().map(|(reason, &count)| (reason.to_string(), count)).collect();
    let cuts: BTreeMap<&str, &Vec<f32>> = population
        .columns
        .iter()
        .filter(|column| !column.cuts.is_empty())
        .map(|column| (column.name.as_str(), &column.cuts))
        .collect();
    let merged: Vec<String> = population.merged.iter().map(|(names, _, _)| names.join(" / ")).collect();
    let entries = json!({
        "plan_hash": plan_hash,
        "version": env!("CARGO_PKG_VERSION"),
        "area": plan.area.name,
        "seed": plan.seed,
        "design": plan.shares.design,
        "alpha": plan.shares.alpha,
        "balanced": plan.balanced,
        "population": population.candidates.len(),
        "not_in_population": lost,
        "merged_strata": merged,
        "wanted": plan.count,
        "drawn": draw.chosen.len(),
        "inclusion_is_exact": draw.passed_over == 0,
        "cuts": cuts,
        "split_block_km": splits.block_km,
        "split_buffer_km": plan.split.buffer_km,
        "split_years": plan.split.years,
        "sources": plan.rasters.iter().map(|(name, raster)| (name, &raster.source)).collect::<BTreeMap<_, _>>(),
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
