//! The `csp` binary.

use std::process::ExitCode;

use clap::Parser;
use csp::Config;
use minicube::run::{self, Verb};

/// Explain a forecaster by Cluster–Segregate–Perturb: how its vegetation answers to shifted weather.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    x5_dl::tune_allocator();
    let cli = Cli::parse();
    minicube::open_buckets_with(minicube_s3::open);
    run::main("csp", env!("CARGO_PKG_VERSION"), cli.verb.args(), |ctx| {
        let file = run::Config::load(cli.verb.args())?;
        let config: Config = file.section("explain")?;
        match &cli.verb {
            Verb::Run(_) => csp::run(&file.project, &config, ctx),
            Verb::Plan(_) => csp::describe(&file.project, &config),
            Verb::Verify(_) => csp::check(&file.project, &config),
        }
    })
}
