//! A sample beside its population, in figures, maps and histograms, whoever drew it.

use std::collections::{BTreeMap, BTreeSet};

use minicube::LonLat;
use minicube::report::{MapColumn, PointMap, Report, bars, heat};

use crate::aoi::Aoi;
use crate::balance::{divergence, effective_size, largest_difference};
use crate::candidates::{Column, Population};
use crate::spread::{clustering, mean_nearest_m};

/// More bars than this are put into a second picture.
const BARS: usize = 12;

/// A sample beside its population, whoever drew it.
pub(crate) struct Picture<'a> {
    pub(crate) population: &'a Population,
    pub(crate) aoi: &'a Aoi,
    /// Candidate of each location.
    pub(crate) chosen: &'a [usize],
    pub(crate) ids: Vec<String>,
    pub(crate) places: Vec<LonLat>,
    pub(crate) weights: Vec<f64>,
    /// What divides the locations: split, fold, …
    pub(crate) groups: Vec<MapColumn>,
    pub(crate) seed: u64,
}

impl Picture<'_> {
    pub(crate) fn figures(&self) -> Vec<Vec<String>> {
        let population: Vec<LonLat> = self.population.candidates.iter().map(|c| c.center).collect();
        let (sizes, drawn) = self.joint_counts();
        let unsampled: f64 =
            sizes.iter().zip(&drawn).filter(|(_, drawn)| **drawn == 0.0).map(|(size, _)| size).sum();
        let hit = drawn.iter().filter(|drawn| **drawn > 0.0).count();
        vec![
            row("joint strata with locations", format!("{hit} of {}", drawn.len())),
            row(
                "population in strata without locations",
                percent(unsampled / population.len().max(1) as f64),
            ),
            row(
                "divergence from the population (Kullback–Leibler, nats)",
                decimals(divergence(&drawn, &sizes), 4),
            ),
            row(
                "largest difference from a share of the population",
                percent(largest_difference(&drawn, &sizes)),
            ),
            row(
                "effective sample size (Kish)",
                format!("{:.1}", effective_size(self.weights.iter().copied())),
            ),
            row(
                "mean distance to the nearest other location",
                format!("{:.1} km", mean_nearest_m(&self.places) / 1e3),
            ),
            row(
                "spatial clustering index (1 = random, below: clustered)",
                format!("{:.3}", clustering(&self.places, &population, self.seed)),
            ),
        ]
    }

    pub(crate) fn maps(&self, report: Report) -> Report {
        let mut columns = self.groups.clone();
        columns.extend(self.population.columns.iter().map(|column| MapColumn {
            name: column.name.clone(),
            classes: column.classes.clone(),
            of_point: self.chosen.iter().map(|&index| column.of_cell[index]).collect(),
        }));
        let map = PointMap {
            title: "Locations".to_owned(),
            points: self.places.iter().map(|place| (place.lon, place.lat)).collect(),
            names: self.ids.clone(),
            columns,
            outlines: self.aoi.outlines(),
        };
        let caption = "Hover a location to see its classes; choose what the colours mean; click a class to hide it; \
                       scroll to zoom, drag to move.";
        report.section("Where").map(caption, &map)
    }

    /// Histograms of every stratum, divergences, and two strata at a time.
    pub(crate) fn compare(&self, mut report: Report) -> Report {
        report = report.section("Population and sample").text(
            "Population: all cells that could have been drawn. Sample: the cells drawn. Weighted: the sample with its \
             weights, which should give the population back.",
        );
        for column in &self.population.columns {
            for (labels, groups) in self.histogram(&column.name) {
                let groups: Vec<(String, Vec<f64>)> = ["population", "sample", "weighted sample"]
                    .into_iter()
                    .map(str::to_owned)
                    .zip(groups)
                    .collect();
                let caption = format!("Shares of the classes of {}", column.name);
                report = report.svg(&caption, &bars(&column.name, &labels, &groups));
            }
        }
        report = report
            .section("Distance from the population")
            .text("Kullback–Leibler divergence in nats (0 = equal) and largest difference of a share.")
            .table(
                &[
                    "of",
                    "sample from population",
                    "largest difference",
                    "weighted from population",
                    "largest difference",
                ],
                self.divergences(),
            );
        self.joint_heat(report)
    }

    /// Counts of the classes of a column in population, sample and weighted sample.
    fn marginal(&self, name: &str) -> Option<(Vec<String>, [Vec<f64>; 3])> {
        let column = self.population.column(name)?;
        let mut counts = [0, 1, 2].map(|_| vec![0.0; column.classes.len()]);
        column.of_cell.iter().for_each(|&class| counts[0][usize::from(class)] += 1.0);
        for (&index, weight) in self.chosen.iter().zip(&self.weights) {
            let class = usize::from(column.of_cell[index]);
            counts[1][class] += 1.0;
            counts[2][class] += weight;
        }
        Some((column.classes.clone(), counts))
    }

    /// Shares of the classes that occur, the commonest first, in pictures of at most [`BARS`] classes.
    fn histogram(&self, name: &str) -> Vec<(Vec<String>, [Vec<f64>; 3])> {
        let Some((classes, counts)) = self.marginal(name) else { return Vec::new() };
        let mut order: Vec<usize> = (0..classes.len()).filter(|&class| counts[0][class] > 0.0).collect();
        if order.len() > BARS {
            order.sort_by(|&a, &b| counts[0][b].total_cmp(&counts[0][a]).then(a.cmp(&b)));
        }
        let sums = counts.each_ref().map(|counts| counts.iter().sum::<f64>().max(f64::MIN_POSITIVE));
        let part = |part: &[usize]| {
            let shares =
                |group: usize| part.iter().map(|&class| counts[group][class] / sums[group]).collect();
            (part.iter().map(|&class| classes[class].clone()).collect(), [0, 1, 2].map(shares))
        };
        order.chunks(BARS).map(part).collect()
    }

    fn joint_counts(&self) -> (Vec<f64>, Vec<f64>) {
        let sizes: Vec<f64> = self.population.sizes.iter().map(|&size| size as f64).collect();
        let mut drawn = vec![0.0; sizes.len()];
        self.chosen.iter().for_each(|&i| drawn[self.population.candidates[i].stratum as usize] += 1.0);
        (sizes, drawn)
    }

    fn divergences(&self) -> Vec<Vec<String>> {
        let line = |name: &str, population: &[f64], drawn: &[f64], weighted: &[f64]| {
            vec![
                name.to_owned(),
                decimals(divergence(drawn, population), 4),
                percent(largest_difference(drawn, population)),
                decimals(divergence(weighted, population), 4),
                percent(largest_difference(weighted, population)),
            ]
        };
        let marginals = self.population.columns.iter().filter_map(|column| {
            let (_, [population, drawn, weighted]) = self.marginal(&column.name)?;
            Some(line(&column.name, &population, &drawn, &weighted))
        });
        let mut rows: Vec<Vec<String>> = marginals.collect();
        let (sizes, drawn) = self.joint_counts();
        let mut weighted = vec![0.0; sizes.len()];
        for (&index, weight) in self.chosen.iter().zip(&self.weights) {
            weighted[self.population.candidates[index].stratum as usize] += weight;
        }
        rows.push(line("all together", &sizes, &drawn, &weighted));
        rows
    }

    /// Share of the sample over share of the population for the classes of the first two strata.
    fn joint_heat(&self, report: Report) -> Report {
        let [first, second, ..] = self.population.columns.as_slice() else { return report };
        let mut counts: BTreeMap<(u16, u16), [f64; 2]> = BTreeMap::new();
        for (&a, &b) in first.of_cell.iter().zip(&second.of_cell) {
            counts.entry((a, b)).or_default()[0] += 1.0;
        }
        for &index in self.chosen {
            counts.entry((first.of_cell[index], second.of_cell[index])).or_default()[1] += 1.0;
        }
        let present = |pick: fn(&(u16, u16)) -> u16| -> Vec<u16> {
            let all: BTreeSet<u16> = counts.keys().map(pick).collect();
            all.into_iter().collect()
        };
        let (rows, cols) = (present(|key| key.0), present(|key| key.1));
        let names = |column: &Column, of: &[u16]| -> Vec<String> {
            of.iter().map(|&class| column.classes[usize::from(class)].clone()).collect()
        };
        let (cells, drawn) = (self.population.candidates.len() as f64, self.chosen.len().max(1) as f64);
        let share = |which: usize, total: f64| -> Vec<Vec<f64>> {
            let value =
                |a: u16, b: u16| counts.get(&(a, b)).map_or(f64::NAN, |both| both[which] / total * 100.0);
            rows.iter().map(|&a| cols.iter().map(|&b| value(a, b)).collect()).collect()
        };
        let (row_names, col_names) = (names(first, &rows), names(second, &cols));
        let what = format!("{} and {}", first.name, second.name);
        report
            .section("Two strata at a time")
            .svg(
                &format!("Population: percent of the cells by {what}"),
                &heat("population", &row_names, &col_names, &share(0, cells)),
            )
            .svg(
                &format!("Sample: percent of the locations by {what}"),
                &heat("sample", &row_names, &col_names, &share(1, drawn)),
            )
    }
}

/// A line of a table of figures.
pub(crate) fn row(name: &str, value: impl ToString) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", decimals(100.0 * share, 2))
}

/// So many decimals, and no minus before a zero.
pub(crate) fn decimals(value: f64, count: usize) -> String {
    let text = format!("{value:.count$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|digit| "0.".contains(digit)) => digits.to_owned(),
        _ => text,
    }
}
