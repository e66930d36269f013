//! The report page, from the ledger's parts.

use std::collections::BTreeMap;

use minicube::report::{LinePlot, Report, Series, Style, bars, lines};
use minicube::run::human_bytes;
use minicube::{NaiveDate, to_cf_day};

use crate::ledger::{Part, State};
use crate::plan::Plan;

/// What the parts add up to.
#[derive(Default)]
pub(crate) struct Summary {
    tiles: BTreeMap<String, Vec<Stored>>,
    sources: BTreeMap<String, Totals>,
    reasons: BTreeMap<String, usize>,
}

/// Tiles whose scenes are drawn.
const MAX_TIMELINES: usize = 12;

/// A scene on the disk.
struct Stored {
    day: NaiveDate,
    fate: Fate,
    bytes: u64,
}

/// How a scene ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// All wanted blocks of all bands.
    Whole,
    /// Some blocks of the bands were left out for clouds.
    Partly,
    /// Nothing but the classification: no clear ground.
    Cloudy,
    /// Something could not be had.
    Failed,
}

#[derive(Default)]
struct Totals {
    units: usize,
    rows: usize,
    bytes: u64,
    spared: u64,
    failed: usize,
}

impl Summary {
    pub(crate) fn add(&mut self, part: &Part) {
        let Some(first) = part.rows.first() else { return };
        let totals = self.sources.entry(first.source.clone()).or_default();
        totals.units += usize::from(first.status != State::Superseded);
        for row in &part.rows {
            match row.status {
                State::Fetched | State::Reused => {
                    totals.rows += 1;
                    totals.bytes += row.length;
                }
                State::SkippedCloudy => totals.spared += row.length,
                State::Failed => {
                    totals.failed += 1;
                    *self.reasons.entry(row.reason.clone().unwrap_or_default()).or_default() += 1;
                }
                State::Superseded | State::Absent => {}
            }
        }
        if let Ok(day) = part.head.day.parse::<NaiveDate>()
            && !part.head.tile.is_empty()
        {
            let bytes = part.rows.iter().filter(|row| row.is_here()).map(|row| row.length).sum();
            self.tiles.entry(part.head.tile.clone()).or_default().push(Stored {
                day,
                fate: fate(part),
                bytes,
            });
        }
    }

    /// The page. `received` and `payload` are bytes of this run.
    pub(crate) fn page(&self, plan: &Plan, received: u64, payload: u64) -> Report {
        let stored: u64 = self.sources.values().map(|totals| totals.bytes).sum();
        let spared: u64 = self.sources.values().map(|totals| totals.spared).sum();
        let lead = format!(
            "{} holds {} of blocks and files; {} were left out because no wanted cube has clear ground in them. This \
             run received {} for a payload of {}.",
            plan.project.name,
            human_bytes(stored),
            human_bytes(spared),
            human_bytes(received),
            human_bytes(payload)
        );
        let mut page = Report::new(&format!("Download: {}", plan.project.name)).lead(&lead);
        if !self.tiles.is_empty() {
            page = self.timelines(page.section("Scenes"));
        }
        page = page.section("Sources").svg("Bytes on the disk by source.", &self.bytes_by_source());
        let rows = self.sources.iter().map(|(source, totals)| {
            let (units, rows, failed) =
                (totals.units.to_string(), totals.rows.to_string(), totals.failed.to_string());
            vec![source.clone(), units, rows, human_bytes(totals.bytes), human_bytes(totals.spared), failed]
        });
        let columns = ["source", "units", "blocks or files", "stored", "cloudy, left out", "failed"];
        page = page.table(&columns, rows.collect());
        if self.reasons.is_empty() {
            return page.section("Gaps").text("None: everything that was wanted is there.");
        }
        let gaps =
            self.reasons.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]).collect();
        page.section("Gaps").table(&["reason", "times"], gaps)
    }

    /// One chart for each of the first tiles.
    fn timelines(&self, mut page: Report) -> Report {
        for (tile, scenes) in self.tiles.iter().take(MAX_TIMELINES) {
            page = page.svg(&format!("Tile {tile}: one point a scene."), &timeline(tile, scenes));
        }
        match self.tiles.len().saturating_sub(MAX_TIMELINES) {
            0 => page,
            more => page.text(&format!("{more} further tiles are not drawn.")),
        }
    }

    fn bytes_by_source(&self) -> String {
        let labels: Vec<String> = self.sources.keys().cloned().collect();
        let values =
            |get: fn(&Totals) -> u64| self.sources.values().map(|totals| get(totals) as f64 / 1e6).collect();
        let groups = [
            ("stored, MB".to_owned(), values(|t| t.bytes)),
            ("cloudy, left out, MB".to_owned(), values(|t| t.spared)),
        ];
        bars("Megabytes by source", &labels, &groups)
    }
}

fn timeline(tile: &str, scenes: &[Stored]) -> String {
    let series = |name: &str, fate: Fate| {
        let points = scenes.iter().filter(|scene| scene.fate == fate);
        let points =
            points.map(|scene| (f64::from(to_cf_day(scene.day)), scene.bytes as f64 / 1e6)).collect();
        Series { name: name.to_owned(), points, style: Style::Points }
    };
    let series = [
        series("all wanted blocks", Fate::Whole),
        series("clear blocks only", Fate::Partly),
        series("all cloudy", Fate::Cloudy),
        series("failed", Fate::Failed),
    ];
    lines(&LinePlot {
        title: &format!("Scenes of {tile}"),
        x_label: "date",
        y_label: "stored, MB",
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        x_is_date: true,
    })
}

fn fate(part: &Part) -> Fate {
    let bands = || part.rows.iter().filter(|row| row.asset != "scl");
    let any = |state: State| bands().any(|row| row.status == state);
    if part.rows.iter().any(|row| row.status == State::Failed) {
        Fate::Failed
    } else if !any(State::SkippedCloudy) {
        Fate::Whole
    } else if bands().any(|row| row.is_here()) {
        Fate::Partly
    } else {
        Fate::Cloudy
    }
}
