//! The report page: is this sample what was asked for, and how does it differ from the population?

use minicube::report::{MapColumn, Report};
use minicube::{LonLat, Split, Tile};

use crate::aoi::Lies;
use crate::balance::{divergence, largest_difference};
use crate::candidates::Population;
use crate::judge::Judged;
use crate::picture::{Picture, decimals, percent, row};
use crate::plan::Plan;
use crate::points::Points;
use crate::sample::Sample;
use crate::spread::mean_nearest_m;

/// The page of a drawn sample.
#[must_use]
pub(crate) fn page(plan: &Plan, tiles: &[(Tile, Lies)], population: &Population, sample: &Sample) -> Report {
    let locations = &sample.table.locations;
    let splits: Vec<u16> = locations.iter().map(|location| location.split as u16).collect();
    let mut groups = vec![MapColumn {
        name: "split".to_owned(),
        classes: Split::ALL.iter().map(Split::to_string).collect(),
        of_point: splits,
    }];
    if plan.split.folds > 0 {
        groups.push(MapColumn {
            name: "fold".to_owned(),
            classes: (0..plan.split.folds).map(|fold| fold.to_string()).collect(),
            of_point: locations.iter().map(|location| location.fold.unwrap_or(0) as u16).collect(),
        });
    }
    let picture = Picture {
        population,
        aoi: &plan.aoi,
        chosen: &sample.chosen,
        ids: locations.iter().map(|location| location.id.clone()).collect(),
        places: locations.iter().map(|l| LonLat { lon: l.lon, lat: l.lat }).collect(),
        weights: locations.iter().map(|location| location.weight).collect(),
        groups,
        seed: plan.seed,
    };
    let lead = format!(
        "{} minicubes of {} m in {}, drawn with seed {} from {} cells in {} tiles and {} joint strata.",
        sample.draw.chosen.len(),
        plan.grid.cell_size_m(),
        plan.area.name,
        plan.seed,
        population.candidates.len(),
        tiles.len(),
        population.strata.len()
    );
    let mut rows = drawn_figures(plan, tiles, population, sample);
    rows.extend(picture.figures());
    let mut report = Report::new("Sample of locations")
        .lead(&lead)
        .section("In figures")
        .table(&["figure", "value"], rows);
    report = limits(report, plan, population, sample);
    report = picture.maps(report);
    report = picture.compare(report);
    let joint = (0..population.strata.len()).map(|stratum| {
        vec![
            population.strata[stratum].join(" / "),
            population.sizes[stratum].to_string(),
            format!("{:.1}", sample.shares[stratum] * plan.count as f64),
            sample.draw.drawn[stratum].to_string(),
            deviation(sample.draw.drawn[stratum] as f64, sample.shares[stratum] * plan.count as f64),
            format!("{:.3}", population.sizes[stratum] as f64 / sample.draw.drawn[stratum].max(1) as f64),
        ]
    });
    report = report
        .section("Joint strata")
        .text(
            "Target: the share of the design in locations. What a stratum could not give went to the others. One \
             location stands for so many cells of its stratum (Horvitz–Thompson).",
        )
        .table(&["stratum", "cells", "target", "drawn", "off target", "cells a location"], joint.collect());
    if !population.merged.is_empty() {
        let merged = population.merged.iter().map(|(names, size, into)| {
            vec![names.join(" / "), size.to_string(), population.strata[*into as usize].join(" / ")]
        });
        report = report
            .section("Merged strata")
            .text(&format!(
                "These had a target below {} locations and were merged with others that share their leading classes.",
                plan.stratum_min
            ))
            .table(&["stratum", "cells", "went to"], merged.collect());
    }
    report.section("Tiles").table(
        &["tile", "EPSG", "candidate cells", "locations"],
        tile_rows(tiles, population, &sample.chosen),
    )
}

/// The page that judges somebody's table.
#[must_use]
pub(crate) fn judgement(
    plan: &Plan,
    name: &str,
    tiles: &[(Tile, Lies)],
    population: &Population,
    points: &Points,
    judged: &Judged,
) -> Report {
    let chosen: Vec<usize> = judged.found.iter().map(|&(_, candidate)| candidate).collect();
    let groups = points.groups.iter().map(|(column, of_row)| {
        let mut classes = of_row.clone();
        classes.sort();
        classes.dedup();
        let number = |row: usize| classes.binary_search(&of_row[row]).unwrap_or(0) as u16;
        let of_point = judged.found.iter().map(|&(row, _)| number(row)).collect();
        MapColumn { name: column.clone(), classes: classes.clone(), of_point }
    });
    let picture = Picture {
        population,
        aoi: &plan.aoi,
        ids: judged.found.iter().map(|&(row, _)| points.ids[row].clone()).collect(),
        places: judged.places(points),
        weights: weights_of(population, judged),
        chosen: &chosen,
        groups: groups.collect(),
        seed: plan.seed,
    };
    let lead = format!(
        "{name}: {} of {} locations lie in the {} cells of {}. How far are they from that population?",
        chosen.len(),
        points.places.len(),
        population.candidates.len(),
        plan.area.name,
    );
    let mut rows = vec![
        row("locations in the table", points.places.len()),
        row("in a cell of the population", chosen.len()),
        row("in a cell with an earlier location", judged.repeated),
        row("on a strip between cells", judged.between),
        row("outside the population (area, water, no data)", judged.outside),
        row(
            "tiles with locations",
            tile_rows(tiles, population, &chosen).iter().filter(|row| row[3] != "0").count(),
        ),
    ];
    rows.extend(picture.figures());
    let mut report = Report::new("Judgement of a sample")
        .lead(&lead)
        .section("In figures")
        .table(&["figure", "value"], rows);
    report = picture.maps(report);
    report = picture.compare(report);
    let total = chosen.len().max(1) as f64;
    let size = population.candidates.len() as f64;
    let joint = (0..population.strata.len()).map(|stratum| {
        let (drawn, cells) = (judged.drawn[stratum] as f64 / total, population.sizes[stratum] as f64 / size);
        vec![
            population.strata[stratum].join(" / "),
            percent(cells),
            percent(drawn),
            format!("{:.2}", drawn / cells),
        ]
    });
    report
        .section("Joint strata")
        .text("Ratio: 1 as in the population, 0 never, above 1 more often than the land has it.")
        .table(&["stratum", "of the population", "of the sample", "ratio"], joint.collect())
}

/// Weight of each found location: cells over locations of its stratum, mean 1.
fn weights_of(population: &Population, judged: &Judged) -> Vec<f64> {
    let by_stratum = crate::design::weights(&population.sizes, &judged.drawn);
    let stratum = |&(_, candidate): &(usize, usize)| population.candidates[candidate].stratum as usize;
    judged.found.iter().map(|found| by_stratum[stratum(found)]).collect()
}

/// Figures that only a sample of ours has.
fn drawn_figures(
    plan: &Plan,
    tiles: &[(Tile, Lies)],
    population: &Population,
    sample: &Sample,
) -> Vec<Vec<String>> {
    let drawn: Vec<f64> = sample.draw.drawn.iter().map(|&n| n as f64).collect();
    let exhausted = (0..drawn.len())
        .filter(|&h| (sample.draw.open[h] as f64) < (sample.shares[h] * plan.count as f64).floor())
        .count();
    let locations = &sample.table.locations;
    let mut rows = vec![
        row("locations wanted", plan.count),
        row("locations drawn", locations.len()),
        row("design", format!("{:?}, alpha {}", plan.shares.design, plan.shares.alpha).to_lowercase()),
        row("spread evenly within strata", if plan.balanced { "yes" } else { "no" }),
        row("tiles searched", tiles.len()),
        row("tiles with locations", sample.table.tiles().len()),
        row("candidate cells", population.candidates.len()),
        row("joint strata", population.strata.len()),
        row("rare strata merged", population.merged.len()),
        row("strata with fewer cells than their target", exhausted),
        row("divergence from the target (nats)", decimals(divergence(&drawn, &sample.shares), 5)),
        row("largest difference from a target share", percent(largest_difference(&drawn, &sample.shares))),
        row("largest deviation from a target of 25 or more", percent(largest_deviation(plan, sample))),
        row("split blocks", format!("{} of {} km", sample.splits.blocks.len(), sample.splits.block_km)),
        row("buffer between splits", format!("{} km", plan.split.buffer_km)),
    ];
    if sample.displaced > 0 {
        rows.push(row("locations moved out of the buffers", sample.displaced));
    }
    for split in Split::ALL {
        let count = locations.iter().filter(|location| location.split == split).count();
        let share = percent(count as f64 / locations.len().max(1) as f64);
        rows.push(row(split.name(), format!("{count} ({share})")));
    }
    rows.extend(
        population.lost.iter().map(|(reason, count)| row(&format!("cells left out: {reason}"), count)),
    );
    for column in population.columns.iter().filter(|column| !column.cuts.is_empty()) {
        let cuts: Vec<String> = column.cuts.iter().map(|cut| format!("{cut:.3}")).collect();
        rows.push(row(&format!("{}: classes begin at", column.name), cuts.join(", ")));
    }
    rows
}

/// Largest relative difference of drawn from wanted, over the strata that have the cells for a target of 25 or more.
#[must_use]
pub fn largest_deviation(plan: &Plan, sample: &Sample) -> f64 {
    (0..sample.shares.len())
        .map(|h| {
            (sample.shares[h] * plan.count as f64, sample.draw.drawn[h] as f64, sample.draw.open[h] as f64)
        })
        .filter(|(target, _, open)| *target >= 25.0 && *open >= *target)
        .map(|(target, drawn, _)| (drawn / target - 1.0).abs())
        .fold(0.0, f64::max)
}

/// What distance, cap and budget of tiles cost.
fn limits(report: Report, plan: &Plan, population: &Population, sample: &Sample) -> Report {
    let mut rows = Vec::new();
    if let Some(unlimited) = &sample.unlimited {
        let share = |drawn: &[usize]| -> f64 {
            let drawn: Vec<f64> = drawn.iter().map(|&n| n as f64).collect();
            divergence(&drawn, &sample.shares)
        };
        let places = |chosen: &[usize]| -> Vec<LonLat> {
            chosen.iter().map(|&index| population.candidates[index].center).collect()
        };
        let km = |chosen: &[usize]| format!("{:.1} km", mean_nearest_m(&places(chosen)) / 1e3);
        let line = |name: &str, without: String, with: String| vec![name.to_owned(), without, with];
        let (free, bound) = (unlimited, &sample.draw);
        rows = vec![
            line("locations", free.chosen.len().to_string(), bound.chosen.len().to_string()),
            line("candidates passed over", "0".into(), bound.passed_over.to_string()),
            line(
                "divergence from the target",
                format!("{:.5}", share(&free.drawn)),
                format!("{:.5}", share(&bound.drawn)),
            ),
            line("mean distance to the nearest", km(&free.chosen), km(&bound.chosen)),
        ];
    }
    let mut report = report;
    if !rows.is_empty() {
        let cap = plan.per_tile_max.map_or("no cap".to_owned(), |cap| format!("at most {cap} a tile"));
        report = report
            .section("What the limits cost")
            .text(&format!(
                "The same draw without and with the limits: at least {} m apart, {cap}.",
                plan.min_distance_m
            ))
            .table(&["figure", "without", "with"], rows);
    }
    if let Some(tiles) = &sample.tiles {
        let reachable: std::collections::BTreeSet<u32> = population
            .candidates
            .iter()
            .filter(|candidate| tiles.contains(&candidate.tile))
            .map(|candidate| candidate.stratum)
            .collect();
        report = report.section("The chosen tiles").text(&format!(
            "{} tiles hold {} of the {} joint strata. They were chosen for that, not at random: weights stand for the \
             strata of the whole area on the assumption that a stratum is alike in and outside of the tiles.",
            tiles.len(),
            reachable.len(),
            population.strata.len()
        ));
    }
    report
}

fn tile_rows(tiles: &[(Tile, Lies)], population: &Population, chosen: &[usize]) -> Vec<Vec<String>> {
    let mut counts = vec![[0_usize; 2]; tiles.len()];
    population.candidates.iter().for_each(|candidate| counts[candidate.tile as usize][0] += 1);
    chosen.iter().for_each(|&index| counts[population.candidates[index].tile as usize][1] += 1);
    let with_cells = tiles.iter().zip(counts).filter(|(_, counts)| counts[0] > 0);
    with_cells
        .map(|((tile, _), [cells, drawn])| {
            vec![tile.id.clone(), tile.epsg.0.to_string(), cells.to_string(), drawn.to_string()]
        })
        .collect()
}

fn deviation(drawn: f64, target: f64) -> String {
    if target <= 0.0 {
        return "–".to_owned();
    }
    let text = decimals(100.0 * (drawn / target - 1.0), 1);
    if text.starts_with('-') || text == "0.0" { format!("{text} %") } else { format!("+{text} %") }
}
