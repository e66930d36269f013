//! The frame around a stage: logging, threads, progress bars, and what is printed at the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that speaks to the terminal")]

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

use super::{Args, Failure, Finish, Shard};

/// What a running stage knows of its surroundings.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Worker threads.
    pub threads: usize,
    /// The part of the work that is ours, if not all.
    pub shard: Option<Shard>,
    bars: bool,
}

impl Ctx {
    /// A quiet context for tests and libraries: all of the work, the given number of threads.
    #[must_use]
    pub fn quiet(threads: usize) -> Ctx {
        Ctx { threads, shard: None, bars: false }
    }

    /// Whether unit number `index` belongs to our shard.
    #[must_use]
    pub fn mine(&self, index: usize) -> bool {
        self.shard.is_none_or(|shard| index % shard.count == shard.index)
    }

    /// `i/n` of the shard, counted from 1.
    #[must_use]
    pub fn shard_name(&self) -> Option<String> {
        self.shard.map(|shard| format!("{}/{}", shard.index + 1, shard.count))
    }

    /// Starts a progress bar of `len` units; invisible where stderr is not a terminal.
    #[must_use]
    pub fn progress(&self, label: &str, len: u64) -> Progress {
        let target = if self.bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {pos}/{len} {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(label.to_owned());
        if self.bars {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress { bar }
    }
}

/// A progress bar; may be shared between threads.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Moves on by `units`.
    pub fn inc(&self, units: u64) {
        self.bar.inc(units);
    }

    /// Sets the text behind the bar.
    pub fn set_message(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Sets how many units there are.
    pub fn set_length(&self, units: u64) {
        self.bar.set_length(units);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Runs the body of a stage's binary: sets up logging and threads, prints the summary or the failure, and gives the
/// exit code: 0 complete, 1 finished with gaps, 2 could not run.
pub fn main(
    stage: &'static str,
    version: &'static str,
    args: &Args,
    body: impl FnOnce(&Ctx) -> Result<Finish, Failure>,
) -> ExitCode {
    let level = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A second call in one process keeps the first subscriber and the first thread pool.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let threads = args
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
        .max(1);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    tracing::info!(stage, version, threads, "start");
    let ctx = Ctx { threads, shard: args.shard, bars: !args.quiet && std::io::stderr().is_terminal() };
    match body(&ctx) {
        Ok(finish) => {
            println!("{}", finish.text());
            ExitCode::from(finish.code())
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint_text() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}
