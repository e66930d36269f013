//! `x4-level2`: Level 1, or a public dataset, to training-ready Level-2 samples.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use minicube::Split;
use minicube::run::{self, Finish};
use x4_level2::{Export, ExportLayout, Format, Plan};

/// Level 1, or a public dataset, to training-ready Level-2 samples.
#[derive(Parser)]
#[command(name = "x4-level2", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Do the work; goes on where an interrupted run stopped, and does nothing where all is done.
    Run(run::Args),
    /// Check the configuration and print what would be made.
    Plan(run::Args),
    /// Read back what was written and prove it.
    Verify(run::Args),
    /// Import a public dataset, as `run` does with a `[level2.import]` section.
    Import {
        #[command(flatten)]
        args: run::Args,
        /// The dataset's layout [default: that of the project file].
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Files or folders [default: those of the project file].
        #[arg(long, num_args = 1.., value_name = "PATH")]
        input: Vec<PathBuf>,
    },
    /// Write every sample as a NetCDF file of its own: `<out>/<layout>/<split>/<sample>.nc`.
    Export {
        #[command(flatten)]
        args: run::Args,
        /// The files' layout.
        #[arg(long, value_enum, default_value_t = ExportLayout::Minicube)]
        layout: ExportLayout,
        /// One split only: train, val or test.
        #[arg(long)]
        split: Option<Split>,
        /// Folder of the files [default: export in the project folder].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let args = match &verb {
        Verb::Run(args) | Verb::Plan(args) | Verb::Verify(args) => args,
        Verb::Import { args, .. } | Verb::Export { args, .. } => args,
    };
    minicube::open_buckets_with(minicube_s3::open);
    run::main("x4-level2", env!("CARGO_PKG_VERSION"), args, |ctx| match &verb {
        Verb::Run(args) => x4_level2::run(&Plan::load(args)?, ctx),
        Verb::Plan(args) => Ok(Finish::text_only(Plan::load(args)?.text())),
        Verb::Verify(args) => x4_level2::verify(&Plan::load(args)?, ctx),
        Verb::Import { args, format, input } => {
            x4_level2::run(&Plan::load_import(args, *format, input)?, ctx)
        }
        Verb::Export { args, layout, split, out } => {
            let export = Export { layout: *layout, split: *split, out: out.clone() };
            x4_level2::export(&run::Config::load(args)?.project, &export, ctx)
        }
    })
}
