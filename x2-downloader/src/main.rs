//! `x2-downloader run|plan|verify|status --config FILE`.

use std::process::ExitCode;

use clap::Parser;
use minicube::run::{Args, Config};
use x2_downloader::{EstimateOptions, Plan};

/// Fetches exactly the bytes that the wanted minicubes need, and keeps a ledger of them.
#[derive(Parser)]
#[command(name = "x2-downloader", version)]
enum Cli {
    /// Fetch what is missing; goes on where an interrupted run stopped, and does nothing where all is done.
    Run {
        #[command(flatten)]
        args: Args,
        /// Ask the catalogue again for scenes, instead of keeping its answer of an earlier run.
        #[arg(long)]
        refresh: bool,
    },
    /// Print the scenes, blocks, requests, bytes and hours that a run costs.
    Plan {
        #[command(flatten)]
        args: Args,
        /// Look at every scene instead of a sample of them: exact, and the run goes on from there.
        #[arg(long)]
        exact: bool,
        /// Megabytes a second to reckon the duration with.
        #[arg(long, value_name = "MB/S", default_value_t = 10.0)]
        rate: f64,
    },
    /// Read every file again and prove it against the ledger.
    Verify(Args),
    /// Print what is there, left out and missing.
    Status(Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (Cli::Run { args, .. } | Cli::Plan { args, .. } | Cli::Verify(args) | Cli::Status(args)) = &cli;
    minicube::run::main("x2-downloader", env!("CARGO_PKG_VERSION"), args, |ctx| {
        let plan = Plan::load(&Config::load(args)?)?;
        match &cli {
            Cli::Run { refresh, .. } => x2_downloader::run(&plan, ctx, *refresh),
            Cli::Plan { exact, rate, .. } => {
                let options = EstimateOptions { exact: *exact, rate_mb_s: *rate };
                x2_downloader::estimate(&plan, ctx, options)
            }
            Cli::Verify(_) => x2_downloader::verify(&plan, ctx),
            Cli::Status(_) => x2_downloader::status(&plan),
        }
    })
}
