//! `x3-level1`: raw files to Level-1 Zarr minicubes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use minicube::run::{Args, Config as Project, Ctx, Failure, Finish};
use x3_level1::{Config, ImportConfig, ImportFormat, STAGE, default_resolution, default_size};

/// Harmonise raw files to Level-1 Zarr minicubes.
#[derive(Parser)]
#[command(name = STAGE, version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the stores; goes on where an interrupted run stopped, and does nothing where all is done.
    Run(Args),
    /// Check the configuration and print what would be done.
    Plan(Args),
    /// Read the stores back and prove them.
    Verify(Args),
    /// Bring a dataset of others to Level 1.
    Import {
        #[command(flatten)]
        args: Args,
        /// Layout of the files [default: that of [level1.import], or openeo-netcdf].
        #[arg(long, value_enum)]
        format: Option<ImportFormat>,
        /// Files or folders [default: those of [level1.import]].
        #[arg(long, num_args = 1.., value_name = "DIR_OR_FILE")]
        input: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let args = match &verb {
        Verb::Run(args) | Verb::Plan(args) | Verb::Verify(args) | Verb::Import { args, .. } => args.clone(),
    };
    minicube::open_buckets_with(minicube_s3::open);
    minicube::run::main(STAGE, env!("CARGO_PKG_VERSION"), &args, |ctx| act(&verb, &args, ctx))
}

fn act(verb: &Verb, args: &Args, ctx: &Ctx) -> Result<Finish, Failure> {
    let file = Project::load(args)?;
    let config: Config = file.section("level1")?;
    let project = &file.project;
    let import = match verb {
        Verb::Import { format, input, .. } => Some(asked(&config, *format, input)),
        _ => config.import.clone(),
    };
    if let Some(import) = import {
        let plan = x3_level1::import(&import, &config, project)?;
        return match verb {
            Verb::Run(_) | Verb::Import { .. } => plan.run(project, ctx),
            Verb::Plan(_) => Ok(plan.describe()),
            Verb::Verify(_) => Ok(plan.verify()),
        };
    }
    let plan = config.resolve(project)?;
    match verb {
        Verb::Plan(_) => x3_level1::describe(&plan, ctx),
        Verb::Verify(_) => x3_level1::verify(&plan, ctx),
        Verb::Run(_) | Verb::Import { .. } => x3_level1::run(&plan, project, ctx),
    }
}

/// The import that the flags ask for, completed from the project file.
fn asked(config: &Config, format: Option<ImportFormat>, input: &[PathBuf]) -> ImportConfig {
    let mut import = config.import.clone().unwrap_or(ImportConfig {
        format: ImportFormat::OpeneoNetcdf,
        input: Vec::new(),
        resolution_m: default_resolution(),
        size_px: default_size(),
    });
    import.format = format.unwrap_or(import.format);
    if !input.is_empty() {
        import.input = input.to_vec();
    }
    import
}
