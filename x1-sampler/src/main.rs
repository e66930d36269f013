//! The command `x1-sampler`.

use std::process::ExitCode;

use clap::Parser;
use x1_sampler::Verb;

/// Where: draws a stratified, seeded sample of minicube locations.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    minicube::run::main("x1-sampler", env!("CARGO_PKG_VERSION"), verb.args(), |ctx| {
        x1_sampler::execute(&verb, ctx)
    })
}
