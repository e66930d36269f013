//! The command line of x5-dl.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use minicube::run::{Args, Config as ProjectConfig, Verb};

/// Train vegetation forecasters on Level 2, forecast, score and compare.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Stage(Verb),
    /// Put all trained models side by side: scores, distributions of errors, gains by landform
    Compare(Args),
}

impl Command {
    fn args(&self) -> &Args {
        match self {
            Command::Stage(verb) => verb.args(),
            Command::Compare(args) => args,
        }
    }
}

fn main() -> ExitCode {
    x5_dl::tune_allocator();
    let cli = Cli::parse();
    minicube::open_buckets_with(minicube_s3::open);
    minicube::run::main("x5-dl", env!("CARGO_PKG_VERSION"), cli.command.args(), |ctx| {
        let project = ProjectConfig::load(cli.command.args())?;
        let config: x5_dl::Config = project.section("train")?;
        let plan = config.resolve(&project.project)?;
        match &cli.command {
            Command::Stage(Verb::Run(_)) => x5_dl::run(&plan, ctx),
            Command::Stage(Verb::Plan(_)) => Ok(x5_dl::describe(&plan)),
            Command::Stage(Verb::Verify(_)) => x5_dl::verify(&plan),
            Command::Compare(_) => x5_dl::compare(&plan),
        }
    })
}
