//! The report page: is this sample what was asked for, and how does it differ from the population?

use std::collections::{BTreeMap, BTreeSet};

use minicube::report::{Report, bars, scatter_map};
use minicube::{Location, Split, Tile};

use crate::aoi::Lies;
use crate::balance::{divergence, effective_size, largest_difference};
use crate::candidates::Population;
use crate::plan::Plan;
use crate::sample::Sample;

/// More points than this do not make a map clearer, only larger.
const MAP_POINTS: usize = 5000;

/// Puts the page together.
#[must_use]
pub(crate) fn page(plan: &Plan, tiles: &[(Tile, Lies)], population: &Population, sample: &Sample) -> Report {
    let locations = &sample.table.locations;
    let mut report = Report::new("Sample of locations")
        .lead(&lead(plan, tiles, population, sample))
        .section("In figures")
        .table(&["figure", "value"], figures(plan, tiles, population, sample))
        .section("Where");
    let outlines = plan.aoi.outlines();
    let split_names: Vec<String> = Split::ALL.iter().map(Split::to_string).collect();
    let by_split = points(locations, |location| location.split as usize);
    report = report.svg(
        &map_caption("Locations by split", locations),
        &scatter_map("split", &by_split, &split_names, &outlines),
    );
    for column in &population.columns {
        let classes: Vec<String> = classes_of(locations, column).into_iter().collect();
        let by_class = points(locations, |location| {
            classes.iter().position(|class| Some(class) == location.strata.get(*column)).unwrap_or(0)
        });
        let caption = map_caption(&format!("Locations by {column}"), locations);
        report = report.svg(&caption, &scatter_map(column, &by_class, &classes, &outlines));
    }
    report = report.section("Population and sample").text(
        "Population: all cells that could have been drawn. Sample: the cells drawn. Weighted: the sample with its \
         weights, which should give the population back.",
    );
    for (index, column) in population.columns.iter().enumerate() {
        let (classes, of_population, drawn, weighted) = marginal(population, sample, index);
        let share = |counts: &[f64]| shares(counts);
        let groups = [
            ("population".to_owned(), share(&of_population)),
            ("sample".to_owned(), share(&drawn)),
            ("weighted sample".to_owned(), share(&weighted)),
        ];
        report = report.svg(&format!("Shares of the classes of {column}"), &bars(column, &classes, &groups));
    }
    report
        .section("Distance from target and population")
        .text("Kullback–Leibler divergence in nats (0 = equal) and largest difference of a share.")
        .table(
            &["of", "sample from population", "weighted from population", "largest difference, weighted"],
            divergences(population, sample),
        )
        .section("Joint strata")
        .text(
            "Wanted: the target share in whole locations. What a stratum could not give went to the others.",
        )
        .table(&["stratum", "cells", "wanted", "drawn", "weight of one"], joint(population, sample))
        .section("Tiles")
        .table(&["tile", "EPSG", "candidate cells", "locations"], tile_rows(tiles, population, locations))
}

fn lead(plan: &Plan, tiles: &[(Tile, Lies)], population: &Population, sample: &Sample) -> String {
    format!(
        "{} minicubes of {} m in {}, drawn with seed {} from {} cells in {} tiles and {} joint strata.",
        sample.draw.chosen.len(),
        plan.grid.cell_size_m(),
        plan.area.name,
        plan.seed,
        population.candidates.len(),
        tiles.len(),
        population.strata.len()
    )
}

fn figures(
    plan: &Plan,
    tiles: &[(Tile, Lies)],
    population: &Population,
    sample: &Sample,
) -> Vec<Vec<String>> {
    let locations = &sample.table.locations;
    let drawn: Vec<f64> = sample.draw.drawn.iter().map(|&n| n as f64).collect();
    let unsampled: usize = population
        .sizes
        .iter()
        .zip(&sample.draw.drawn)
        .filter(|(_, drawn)| **drawn == 0)
        .map(|(size, _)| size)
        .sum();
    let strata_hit = sample.draw.drawn.iter().filter(|drawn| **drawn > 0).count();
    let percent = |part: usize, whole: usize| format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64);
    let mut rows = vec![
        ("locations wanted", plan.count.to_string()),
        ("locations drawn", locations.len().to_string()),
        ("design", format!("{:?}, alpha {}", plan.design, plan.alpha).to_lowercase()),
        ("tiles searched", tiles.len().to_string()),
        ("tiles with locations", sample.table.tiles().len().to_string()),
        ("candidate cells", population.candidates.len().to_string()),
        ("joint strata with locations", format!("{strata_hit} of {}", population.strata.len())),
        ("population in strata without locations", percent(unsampled, population.candidates.len())),
        ("candidates passed over (distance, tile cap)", sample.draw.passed_over.to_string()),
        ("divergence of the sample from the target", format!("{:.4}", divergence(&drawn, &sample.shares))),
        (
            "largest difference from a target share",
            format!("{:.2} percentage points", 100.0 * largest_difference(&drawn, &sample.shares)),
        ),
        (
            "effective sample size (Kish)",
            format!("{:.1}", effective_size(locations.iter().map(|l| l.weight))),
        ),
        ("split blocks", format!("{} of {} km", sample.splits.blocks, sample.splits.block_km)),
    ];
    for split in Split::ALL {
        let count = locations.iter().filter(|location| location.split == split).count();
        rows.push((split.name(), format!("{count} ({})", percent(count, locations.len()))));
    }
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let lost = population.lost.reasons().into_iter();
    rows.extend(lost.map(|(reason, count)| vec![format!("cells left out: {reason}"), count.to_string()]));
    if population.columns.contains(&"heterogeneity") {
        let [low, high] = population.entropy_cuts;
        rows.push(vec!["entropy at the tertiles (nats)".to_owned(), format!("{low:.3} and {high:.3}")]);
    }
    rows
}

/// Classes of a strata column with their counts in population, sample and weighted sample.
fn marginal(
    population: &Population,
    sample: &Sample,
    column: usize,
) -> (Vec<String>, Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut counts: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for (stratum, names) in population.strata.iter().enumerate() {
        let of_class = counts.entry(&names[column]).or_default();
        of_class[0] += population.sizes[stratum] as f64;
        of_class[1] += sample.draw.drawn[stratum] as f64;
    }
    let name = population.columns[column];
    for location in &sample.table.locations {
        let class = location.strata.get(name).map_or("", String::as_str);
        counts.entry(class).or_default()[2] += location.weight;
    }
    let pick = |index: usize| counts.values().map(|count| count[index]).collect();
    (counts.keys().map(|class| (*class).to_owned()).collect(), pick(0), pick(1), pick(2))
}

fn divergences(population: &Population, sample: &Sample) -> Vec<Vec<String>> {
    let row = |name: &str, of_population: &[f64], drawn: &[f64], weighted: &[f64]| {
        vec![
            name.to_owned(),
            format!("{:.4}", divergence(drawn, of_population)),
            format!("{:.4}", divergence(weighted, of_population)),
            format!("{:.4}", largest_difference(weighted, of_population)),
        ]
    };
    let mut rows: Vec<Vec<String>> = (0..population.columns.len())
        .map(|column| {
            let (_, of_population, drawn, weighted) = marginal(population, sample, column);
            row(population.columns[column], &of_population, &drawn, &weighted)
        })
        .collect();
    let sizes: Vec<f64> = population.sizes.iter().map(|&size| size as f64).collect();
    let drawn: Vec<f64> = sample.draw.drawn.iter().map(|&n| n as f64).collect();
    let weighted: Vec<f64> =
        sizes.iter().zip(&drawn).map(|(size, n)| if *n > 0.0 { *size } else { 0.0 }).collect();
    rows.push(row("all together", &sizes, &drawn, &weighted));
    rows
}

fn joint(population: &Population, sample: &Sample) -> Vec<Vec<String>> {
    let weights = crate::design::weights(&population.sizes, &sample.draw.drawn);
    let row = |stratum: usize| {
        vec![
            population.strata[stratum].join(" / "),
            population.sizes[stratum].to_string(),
            sample.draw.wanted[stratum].to_string(),
            sample.draw.drawn[stratum].to_string(),
            format!("{:.3}", weights[stratum]),
        ]
    };
    (0..population.strata.len()).map(row).collect()
}

fn tile_rows(tiles: &[(Tile, Lies)], population: &Population, locations: &[Location]) -> Vec<Vec<String>> {
    let mut cells = vec![0_usize; tiles.len()];
    for candidate in &population.candidates {
        cells[candidate.tile as usize] += 1;
    }
    let mut drawn: BTreeMap<&str, usize> = BTreeMap::new();
    for location in locations {
        *drawn.entry(&location.tile).or_default() += 1;
    }
    tiles
        .iter()
        .zip(cells)
        .filter(|(_, cells)| *cells > 0)
        .map(|((tile, _), cells)| {
            let drawn = drawn.get(tile.id.as_str()).copied().unwrap_or(0);
            vec![tile.id.clone(), tile.epsg.0.to_string(), cells.to_string(), drawn.to_string()]
        })
        .collect()
}

fn classes_of(locations: &[Location], column: &str) -> BTreeSet<String> {
    locations.iter().filter_map(|location| location.strata.get(column).cloned()).collect()
}

fn points(locations: &[Location], class: impl Fn(&Location) -> usize) -> Vec<(f64, f64, usize)> {
    let every = locations.len().div_ceil(MAP_POINTS).max(1);
    locations.iter().step_by(every).map(|location| (location.lon, location.lat, class(location))).collect()
}

fn map_caption(what: &str, locations: &[Location]) -> String {
    match locations.len().div_ceil(MAP_POINTS) {
        0 | 1 => what.to_owned(),
        every => format!("{what} (one in {every} is drawn)"),
    }
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let sum: f64 = counts.iter().sum();
    counts.iter().map(|count| count / sum).collect()
}
