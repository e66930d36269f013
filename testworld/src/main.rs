//! `testworld serve`: a synthetic Earth on the loopback interface.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use testworld::{Error, FaultSpec, ServeOptions, World, serve};

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
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            // Nobody is left to tell if standard error is closed.
            let _ = write!(std::io::stderr(), "error: {error}\n{hint}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    let Command::Serve { port, seed, faults, latency_ms, cache, memory_mb, fill } = command;
    let options = ServeOptions {
        port,
        faults: faults.parse::<FaultSpec>()?,
        latency: Duration::from_millis(latency_ms),
        cache,
        memory_bytes: memory_mb << 20,
        fill,
    };
    let server = serve(World::new(seed)?, options)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.base_url())
        .and_then(|()| out.flush())
        .map_err(|source| Error::Io { path: "standard output".into(), source })?;
    server.wait();
    Ok(())
}
