//! The command line of x5-dl.

use std::process::ExitCode;

use clap::Parser;
use minicube::run::{Config as ProjectConfig, Verb};

/// Train vegetation forecasters on Level 2, forecast, score and compare.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    x5_dl::tune_allocator();
    let cli = Cli::parse();
    minicube::open_buckets_with(minicube_s3::open);
    minicube::run::main("x5-dl", env!("CARGO_PKG_VERSION"), cli.verb.args(), |ctx| {
        let project = ProjectConfig::load(cli.verb.args())?;
        let config: x5_dl::Config = project.section("train")?;
        let plan = config.resolve(&project.project)?;
        match cli.verb {
            Verb::Run(_) => x5_dl::run(&plan, ctx),
            Verb::Plan(_) => Ok(x5_dl::describe(&plan)),
            Verb::Verify(_) => x5_dl::verify(&plan),
        }
    })
}
