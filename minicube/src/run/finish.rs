//! Recording a run: its manifest, its report, its summary table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ctx, Failure};
use crate::objects::is_store_url;
use crate::report::Report;
use crate::{
    Error, FileRef, Outcome, RunManifest, SCHEMA_VERSION, Status, plan_hash, sha256_file, sha256_store,
    stored_bytes, write_atomic,
};

/// How a stage ended: what it prints and its exit code.
#[derive(Clone, Debug)]
pub struct Finish {
    text: String,
    code: u8,
}

impl Finish {
    /// A complete end that prints `text`.
    pub fn text_only(text: impl Into<String>) -> Finish {
        Finish { text: text.into(), code: 0 }
    }

    /// An end with gaps (exit code 1) that prints `text`.
    pub fn with_gaps(text: impl Into<String>) -> Finish {
        Finish { text: text.into(), code: 1 }
    }

    /// What is printed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 0 complete, 1 with gaps.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }
}

/// A run being recorded.
pub struct Run {
    manifest: RunManifest,
    clock: Instant,
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
}

impl Run {
    /// Begins the record of a run of `plan`.
    pub fn start(stage: &str, version: &str, ctx: &Ctx, plan: &impl Serialize, seed: u64) -> Run {
        let manifest = RunManifest {
            schema_version: SCHEMA_VERSION,
            stage: stage.to_owned(),
            version: version.to_owned(),
            build: option_env!("MINICUBE_BUILD").map(str::to_owned),
            plan: serde_json::to_value(plan).unwrap_or(Value::Null),
            plan_hash: plan_hash(plan),
            seed,
            inputs: Vec::new(),
            outputs: Vec::new(),
            outcomes: Vec::new(),
            notes: Map::new(),
            started: now(),
            ended: String::new(),
            seconds: 0.0,
            peak_rss_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
            threads: ctx.threads,
            shard: ctx.shard_name(),
        };
        Run { manifest, clock: Instant::now(), inputs: Vec::new(), outputs: Vec::new() }
    }

    /// The identity of the plan.
    #[must_use]
    pub fn plan_hash(&self) -> &str {
        &self.manifest.plan_hash
    }

    /// Notes a file or store that is read; hashed at the end.
    pub fn input(&mut self, path: &Path) {
        self.inputs.push(path.to_owned());
    }

    /// Notes a file or store that is written; hashed at the end.
    pub fn output(&mut self, path: &Path) {
        self.outputs.push(path.to_owned());
    }

    /// Records how a unit ended.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.manifest.outcomes.push(outcome);
    }

    /// Records a figure by name.
    pub fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.manifest.notes.insert(key.to_owned(), value.into());
    }

    /// Whether every unit so far was skipped, so that nothing changed.
    #[must_use]
    pub fn nothing_done(&self) -> bool {
        !self.manifest.outcomes.is_empty()
            && self.manifest.outcomes.iter().all(|outcome| outcome.status == Status::Skipped)
    }

    /// Writes `run.json` and the report into `folder` and gives the summary. Where nothing was done and a manifest of
    /// the same plan stands there, both are left as they are.
    ///
    /// # Errors
    /// A [`Failure`] if an output cannot be read back or a file cannot be written.
    pub fn finish(mut self, folder: &Path, report: Option<Report>) -> Result<Finish, Failure> {
        let name = match &self.manifest.shard {
            Some(shard) => format!("run.{}.json", shard.replace('/', "of")),
            None => "run.json".to_owned(),
        };
        let path = folder.join(name);
        let seconds = self.clock.elapsed().as_secs_f64();
        if self.nothing_done() && same_plan(&path, &self.manifest.plan_hash) {
            return Ok(Finish::text_only(format!(
                "{}: nothing to do, {} units were done before ({})",
                self.manifest.stage,
                self.manifest.outcomes.len(),
                path.display()
            )));
        }
        let base = folder.parent().unwrap_or(folder);
        self.manifest.inputs = file_refs(&self.inputs, base)?;
        self.manifest.outputs = file_refs(&self.outputs, base)?;
        self.manifest.bytes_in = self.manifest.inputs.iter().map(|file| file.bytes).sum();
        self.manifest.bytes_out = self.manifest.outputs.iter().map(|file| file.bytes).sum();
        self.manifest.ended = now();
        self.manifest.seconds = seconds;
        self.manifest.peak_rss_bytes = peak_rss_bytes();
        let report_path = folder.join("report.html");
        if let Some(report) = report {
            report.write(&report_path)?;
        }
        let json = serde_json::to_string_pretty(&self.manifest).map_err(Failure::new)?;
        write_atomic(&path, json.as_bytes())?;
        Ok(self.summary(&path, &report_path))
    }

    fn summary(&self, manifest: &Path, report: &Path) -> Finish {
        let count = |status| self.manifest.outcomes.iter().filter(|o| o.status == status).count();
        let failed = count(Status::Failed);
        let mut text = format!(
            "{:<14} {:>6} {:>8} {:>7} {:>10} {:>9} {:>10}\n{:<14} {:>6} {:>8} {:>7} {:>10} {:>9} {:>10}\n",
            "stage",
            "done",
            "skipped",
            "failed",
            "written",
            "time",
            "peak",
            self.manifest.stage,
            count(Status::Ok),
            count(Status::Skipped),
            failed,
            human_bytes(self.manifest.bytes_out),
            human_seconds(self.manifest.seconds),
            human_bytes(self.manifest.peak_rss_bytes),
        );
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in self.manifest.outcomes.iter().filter(|o| o.status == Status::Failed) {
            *reasons.entry(outcome.reason.as_deref().unwrap_or("no reason")).or_default() += 1;
        }
        for (reason, number) in reasons.iter().take(5) {
            text.push_str(&format!("  {number} × {reason}\n"));
        }
        // Lists and objects are for the manifest; a summary is read by people.
        for (key, value) in &self.manifest.notes {
            match value {
                Value::String(note) => text.push_str(&format!("  {key}: {note}\n")),
                Value::Array(_) | Value::Object(_) => {}
                number => text.push_str(&format!("  {key}: {number}\n")),
            }
        }
        text.push_str(&format!("  manifest {}", manifest.display()));
        if report.exists() {
            text.push_str(&format!("\n  report   {}", report.display()));
        }
        Finish { text, code: u8::from(failed > 0) }
    }
}

fn same_plan(path: &Path, hash: &str) -> bool {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .is_some_and(|manifest| manifest["plan_hash"] == hash)
}

fn file_refs(paths: &[PathBuf], base: &Path) -> Result<Vec<FileRef>, Error> {
    paths
        .iter()
        .map(|path| {
            let is_store = path.is_dir() || is_store_url(path);
            let sha256 = if is_store { sha256_store(path)? } else { sha256_file(path)? };
            let bytes = stored_bytes(path)?;
            Ok(FileRef { path: path.strip_prefix(base).unwrap_or(path).to_owned(), bytes, sha256 })
        })
        .collect()
}

/// Peak resident memory of this process, bytes; 0 where the system does not tell.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes for people: `12.3 MB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Seconds for people: `1.2 s`, `3 min 05 s`.
#[must_use]
pub fn human_seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(12_345_678), "12.3 MB");
        assert_eq!(human_seconds(185.2), "3 min 05 s");
        assert_eq!(human_seconds(7260.0), "2 h 01 min");
    }

    #[test]
    fn a_run_with_a_failed_unit_ends_with_code_1_and_a_done_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = Ctx::quiet(1);
        let mut run = Run::start("x", "0", &ctx, &"plan", 1);
        run.outcome(Outcome::ok("a", 1.0, 2));
        run.outcome(Outcome::failed("b", "no scenes"));
        let finish = run.finish(dir.path(), None).unwrap();
        assert_eq!(finish.code(), 1);
        assert!(finish.text().contains("1 × no scenes"), "{}", finish.text());
        let before = fs::read(dir.path().join("run.json")).unwrap();

        let mut again = Run::start("x", "0", &ctx, &"plan", 1);
        again.outcome(Outcome::skipped("a", "done before"));
        let finish = again.finish(dir.path(), None).unwrap();
        assert!(finish.text().contains("nothing to do"));
        assert_eq!(fs::read(dir.path().join("run.json")).unwrap(), before);
    }
}
