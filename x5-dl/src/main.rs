//! The command line of x5-dl.

use std::path::PathBuf;
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
    /// Check weights trained elsewhere against a model and write them as safetensors under our names
    ImportWeights(Import),
}

#[derive(clap::Args)]
struct Import {
    /// The weights: .safetensors, or a state dict (.pt) or Lightning checkpoint (.ckpt) of PyTorch.
    #[arg(value_name = "WEIGHTS")]
    file: PathBuf,
    /// Name of the model in [train] that they are for.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The file to write [default: imported.safetensors in the model's folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    args: Args,
}

impl Command {
    fn args(&self) -> &Args {
        match self {
            Command::Stage(verb) => verb.args(),
            Command::Compare(args) => args,
            Command::ImportWeights(import) => &import.args,
        }
    }
}

fn main() -> ExitCode {
    x5_dl::tune_allocator();
    x5_dl::stop_on_signals();
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
            Command::ImportWeights(import) => {
                x5_dl::import_weights(&plan, &import.model, &import.file, import.out.as_deref())
            }
        }
    })
}
