//! `testworld serve`: a synthetic Earth on the loopback interface; `testworld compare`: the exam of what was made of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use testworld::{Asset, Comparison, Deviation, Error, FaultSpec, Landscape, ServeOptions, World, serve};

/// A small synthetic Earth with known vegetation dynamics, served over the real protocols.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve on 127.0.0.1 until interrupted; the first line printed is the base URL.
    Serve {
        /// Port; 0 takes any free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Seed of the Earth.
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Shares of requests that fail on purpose: 503, 429, truncate, stall, reset, wrong_length, corrupt, expire,
        /// page2_500; and tries (how often each fails, 1), stall_s (30). Also gone=TEXT (files with TEXT in their path
        /// answer 404 for ever; may be repeated) and token_s=N (Sentinel-2 files need a token of /sas/token/, which
        /// holds N seconds). Example: 503=0.05,truncate=0.01,tries=2,gone=/20210131/,token_s=60
        #[arg(long, value_name = "SPEC", default_value = "")]
        faults: String,
        /// Milliseconds to wait before every answer.
        #[arg(long, default_value_t = 0)]
        latency_ms: u64,
        /// Folder that keeps every file made.
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
        /// Megabytes of files kept in memory.
        #[arg(long, default_value_t = 256)]
        memory_mb: usize,
        /// Full tiles: the active window's pixels are repeated over the whole tile.
        #[arg(long)]
        fill: bool,
        /// How vegetation is arranged: natural; ground-water, where valleys answer later to weather; scattered, where each
        /// 30 m pixel is like a place drawn at random and has a season of its own.
        #[arg(long, value_enum, default_value_t)]
        landscape: Landscape,
    },
    /// Compare a Level-2 folder that was made of this Earth with what is true of it: the observed reflectances, and kNDVI
    /// by the length of the gap. Ends with 1 where the mean error of a band is more than Level 1's last digit.
    Compare {
        /// The folder, with `train`, `val` and `test` in it.
        level2: PathBuf,
        /// Seed of the Earth.
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// The asset that became `nir`.
        #[arg(long, default_value = "nir08")]
        nir: String,
        /// The --landscape that it was served with.
        #[arg(long, value_enum, default_value_t)]
        landscape: Landscape,
    },
}

/// Level 1 stores reflectances as multiples of this.
const QUANTUM: f64 = 1e-4;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            // Nobody is left to tell if standard error is closed.
            let _ = write!(std::io::stderr(), "error: {error}\n{hint}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Serve { port, seed, faults, latency_ms, cache, memory_mb, fill, landscape } => {
            let options = ServeOptions {
                port,
                faults: faults.parse::<FaultSpec>()?,
                latency: Duration::from_millis(latency_ms),
                cache,
                memory_bytes: memory_mb << 20,
                fill,
            };
            let server = serve(World::with_landscape(seed, landscape)?, options)?;
            say(&format!("{}\n", server.base_url()))?;
            server.wait();
            Ok(ExitCode::SUCCESS)
        }
        Command::Compare { level2, seed, nir, landscape } => {
            let asset = Asset::from_key(&nir).ok_or_else(|| Error::Inconsistent {
                name: "--nir".into(),
                reason: format!("expected an asset such as nir08 or nir, found {nir}"),
            })?;
            let world = World::with_landscape(seed, landscape)?;
            let found = world.compare_level2(&level2, asset)?;
            say(&table(&found))?;
            let exact = found.observed.iter().all(|(_, band)| band.mean().abs() <= QUANTUM);
            Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn table(found: &Comparison) -> String {
    let line = |name: &str, unit: &str, of: &Deviation| {
        format!("{name:<8} {unit:>8} {:>12} {:>12.6} {:>12.6}\n", of.count, of.mean(), of.rmse())
    };
    let mut text = format!("{:<8} {:>8} {:>12} {:>12} {:>12}\n", "", "steps", "pixels", "mean error", "rmse");
    found.observed.iter().for_each(|(band, deviation)| text.push_str(&line(band, "observed", deviation)));
    for (from, to, deviation) in &found.gaps {
        let gap = match to {
            _ if *from == 0 => "observed".to_owned(),
            Some(to) if to == from => format!("gap {from}"),
            Some(to) => format!("gap {from}-{to}"),
            None => format!("gap {from}+"),
        };
        text.push_str(&line("kndvi", &gap, deviation));
    }
    text
}

fn say(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Io { path: "standard output".into(), source })
}
