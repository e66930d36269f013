//! The report page, from the ledger's parts, the traffic of the run, and what the plan had said.

use std::collections::BTreeMap;

use minicube::report::{Event, LinePlot, Report, Series, Style, bars, lines, timeline};
use minicube::run::human_bytes;
use minicube::{NaiveDate, to_cf_day};

use crate::estimate::Estimate;
use crate::ledger::{Part, State};
use crate::net::Traffic;
use crate::plan::Plan;
use crate::run::Passes;

/// What the parts add up to.
#[derive(Default)]
pub(crate) struct Summary {
    tiles: BTreeMap<String, Vec<Stored>>,
    sources: BTreeMap<String, Totals>,
    reasons: BTreeMap<String, usize>,
}

/// What this run did over the network.
pub(crate) struct ThisRun {
    pub(crate) hosts: Vec<(String, Traffic)>,
    /// Bytes received by this run.
    pub(crate) received: u64,
    /// Bytes of blocks and files among them.
    pub(crate) payload: u64,
    /// Bytes received by all runs of the project.
    pub(crate) ever: u64,
}

/// Tiles in one picture.
const TILES_A_PICTURE: usize = 40;
/// Tiles whose bytes are drawn.
const MAX_BYTE_PLOTS: usize = 4;
/// Missing passes that are listed.
const MAX_LISTED: usize = 60;

/// Names and colours of the fates and of passes without a scene, in the order of [`Fate`].
const CLASSES: [(&str, &str); 5] = [
    ("all wanted blocks", "#009e73"),
    ("clear blocks only", "#8fd0b5"),
    ("all cloudy", "#b8b8b8"),
    ("pass without a scene", "#e69f00"),
    ("failed", "#d1242f"),
];
const MISSING: usize = 3;

/// A scene on the disk.
struct Stored {
    day: NaiveDate,
    fate: Fate,
    bytes: u64,
    id: String,
}

/// How a scene ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All wanted blocks of all bands.
    Whole = 0,
    /// Some blocks of the bands were left out for clouds.
    Partly = 1,
    /// Nothing but the classification: no clear ground.
    Cloudy = 2,
    /// Something could not be had.
    Failed = 4,
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
            let stored = Stored { day, fate: fate(part), bytes, id: first.item.clone() };
            self.tiles.entry(part.head.tile.clone()).or_default().push(stored);
        }
    }

    /// The page.
    pub(crate) fn page(
        &self,
        plan: &Plan,
        this_run: &ThisRun,
        passes: &Passes,
        estimate: Option<&Estimate>,
    ) -> Report {
        let stored: u64 = self.sources.values().map(|totals| totals.bytes).sum();
        let spared: u64 = self.sources.values().map(|totals| totals.spared).sum();
        let lead = format!(
            "{} holds {} of blocks and files; {} were left out because no wanted cube has clear ground in them. This \
             run received {} for a payload of {}.",
            plan.project.name,
            human_bytes(stored),
            human_bytes(spared),
            human_bytes(this_run.received),
            human_bytes(this_run.payload)
        );
        let mut page = Report::new(&format!("Download: {}", plan.project.name)).lead(&lead);
        if !self.tiles.is_empty() {
            page = self.scenes(page.section("Scenes"), passes);
            page = completeness(page.section("Passes without a scene"), passes);
        }
        page = page.section("Sources").svg("Bytes on the disk by source.", &self.bytes_by_source());
        let rows = self.sources.iter().map(|(source, totals)| {
            let (units, rows, failed) =
                (totals.units.to_string(), totals.rows.to_string(), totals.failed.to_string());
            vec![source.clone(), units, rows, human_bytes(totals.bytes), human_bytes(totals.spared), failed]
        });
        let columns = ["source", "units", "blocks or files", "stored", "cloudy, left out", "failed"];
        page = page.table(&columns, rows.collect());
        page = network(page.section("Network"), this_run, estimate);
        if self.reasons.is_empty() {
            return page.section("Gaps").text("None: everything that was wanted is there.");
        }
        let gaps =
            self.reasons.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]).collect();
        page.section("Gaps").table(&["reason", "times"], gaps)
    }

    /// All scenes of all tiles, and the bytes of the first tiles.
    fn scenes(&self, mut page: Report, passes: &Passes) -> Report {
        let rows: Vec<(String, Vec<Event>)> = self
            .tiles
            .iter()
            .map(|(tile, scenes)| (tile.clone(), events(scenes, passes.get(tile))))
            .collect();
        for rows in rows.chunks(TILES_A_PICTURE) {
            let caption = "One mark a scene; hover for its name and size. Superseded scenes are not drawn.";
            page = page.svg(caption, &timeline("Scenes by tile", &CLASSES, rows));
        }
        for (tile, scenes) in self.tiles.iter().take(MAX_BYTE_PLOTS) {
            page = page.svg(&format!("Tile {tile}: bytes of each scene."), &bytes_by_scene(tile, scenes));
        }
        match self.tiles.len().saturating_sub(MAX_BYTE_PLOTS) {
            0 => page,
            more => page.text(&format!("The bytes of {more} further tiles are not drawn.")),
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

fn events(scenes: &[Stored], passes: Option<&crate::source::revisit::Completeness>) -> Vec<Event> {
    let stored = scenes.iter().map(|scene| Event {
        day: to_cf_day(scene.day),
        class: scene.fate as usize,
        text: format!("{}, {}", scene.id, human_bytes(scene.bytes)),
    });
    let missing = passes.iter().flat_map(|tile| &tile.missing).map(|missing| Event {
        day: to_cf_day(missing.day),
        class: MISSING,
        text: format!("orbit {}, {}: not in the catalogue", missing.orbit, missing.platform),
    });
    stored.chain(missing).collect()
}

fn bytes_by_scene(tile: &str, scenes: &[Stored]) -> String {
    let series = |name: &str, fate: Fate| {
        let points = scenes.iter().filter(|scene| scene.fate == fate);
        let points =
            points.map(|scene| (f64::from(to_cf_day(scene.day)), scene.bytes as f64 / 1e6)).collect();
        Series { name: name.to_owned(), points, style: Style::Points }
    };
    let series = [Fate::Whole, Fate::Partly, Fate::Cloudy, Fate::Failed]
        .map(|fate| series(CLASSES[fate as usize].0, fate));
    lines(&LinePlot {
        title: &format!("Scenes of {tile}"),
        x_label: "date",
        y_label: "stored, MB",
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        x_is_date: true,
    })
}

/// Passes of a satellite over a relative orbit, every ten days, of which the catalogue has nothing.
fn completeness(page: Report, passes: &Passes) -> Report {
    let expected: usize = passes.values().map(|tile| tile.expected).sum();
    let missing: usize = passes.values().map(|tile| tile.missing.len()).sum();
    let page = page.text(&format!(
        "Of {expected} passes that the ten-day cycles of the relative orbits let expect, the catalogue has no scene \
         of {missing}, cloudy ones counted."
    ));
    if missing == 0 {
        return page;
    }
    let rows = passes.iter().flat_map(|(tile, found)| {
        found.missing.iter().map(move |pass| {
            vec![tile.clone(), pass.day.to_string(), pass.orbit.to_string(), pass.platform.clone()]
        })
    });
    let page = page.table(&["tile", "day", "relative orbit", "satellite"], rows.take(MAX_LISTED).collect());
    match missing.saturating_sub(MAX_LISTED) {
        0 => page,
        more => page.text(&format!("{more} more are not listed.")),
    }
}

/// What the plan said and what happened, and what each host sent.
fn network(page: Report, this_run: &ThisRun, estimate: Option<&Estimate>) -> Report {
    let page = match estimate {
        None => page.text(&format!(
            "All runs so far received {}. There was no plan to compare it with: `x2-downloader plan` makes one.",
            human_bytes(this_run.ever)
        )),
        Some(estimate) if estimate.is_partial => page.text(&format!(
            "The plan said {} without what no server told the size of; all runs so far, planning included, received {}.",
            human_bytes(estimate.bytes as u64),
            human_bytes(this_run.ever)
        )),
        Some(estimate) => {
            let error = match estimate.bytes_error {
                error if error > 0.0 => format!(" ± {}", human_bytes(error as u64)),
                _ => ", exactly".to_owned(),
            };
            let off = (this_run.ever as f64 / estimate.bytes.max(1.0) - 1.0) * 100.0;
            page.text(&format!(
                "The plan said {}{error}; all runs so far, planning included, received {}: {off:+.1} %.",
                human_bytes(estimate.bytes as u64),
                human_bytes(this_run.ever)
            ))
        }
    };
    let rows = this_run.hosts.iter().map(|(host, traffic)| {
        let Traffic { requests, retries, bytes } = traffic;
        vec![host.clone(), requests.to_string(), retries.to_string(), human_bytes(*bytes)]
    });
    page.table(&["host", "requests", "retries", "received by this run"], rows.collect())
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
