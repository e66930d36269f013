//! The command line of x5-dl.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use minicube::Split;
use minicube::run::{Args, Config as ProjectConfig, Ctx, Failure, Finish, Verb};
use x5_dl::{Aggregate, Forecast, ScoreFiles};

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
    Project(ProjectVerb),
    /// EarthNetScore of forecasts in files that any tool wrote
    Score(ScoreArgs),
}

#[derive(Subcommand)]
enum ProjectVerb {
    #[command(flatten)]
    Stage(Verb),
    /// Put all trained models side by side: scores, distributions of errors, gains by landform
    Compare(Args),
    /// kNDVI of a split by one model or several, with their spread and the labels of the land
    Forecast(ForecastArgs),
    /// Impact indexes of regions from the forecasts: anomalies, percentiles and the share of impacted vegetation
    Aggregate(AggregateArgs),
    /// Write the weights of a trained model under the published names, for the published code
    ExportWeights(Export),
    /// Check weights trained elsewhere against a model and write them as safetensors under our names
    ImportWeights(Import),
}

#[derive(clap::Args)]
struct ForecastArgs {
    /// Names of models in [train], separated by commas; their spread is the uncertainty [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// The split that is forecast: train, val or test.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Folder below forecasts/ [default: the models' names].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    args: Args,
}

#[derive(clap::Args)]
struct AggregateArgs {
    /// Name of the model in [train] [default: all].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// GeoJSON file of polygons in degrees [default: each cube is a region].
    #[arg(long, value_name = "FILE")]
    regions: Option<PathBuf>,
    /// Lengths of the windows in days.
    #[arg(long, value_name = "DAYS", value_delimiter = ',', default_values_t = [10, 30, 90])]
    windows: Vec<u32>,
    #[command(flatten)]
    args: Args,
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

#[derive(clap::Args)]
struct Export {
    /// Name of the model in [train].
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The file to write [default: exported.safetensors in the model's folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    args: Args,
}

#[derive(Clone, clap::Args)]
struct ScoreArgs {
    /// Folder with the forecasts: [experiment_]<cube>.npz.
    #[arg(long, value_name = "DIR")]
    predictions: PathBuf,
    /// Folder with the targets: [target_]<cube>.npz.
    #[arg(long, value_name = "DIR")]
    targets: PathBuf,
    /// Folder for scores.json, report.html and run.json [default: score in the folder of the forecasts].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Worker threads [default: all cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Say more; twice for debugging.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only errors and the summary.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

impl ProjectVerb {
    fn args(&self) -> &Args {
        match self {
            ProjectVerb::Stage(verb) => verb.args(),
            ProjectVerb::Compare(args) => args,
            ProjectVerb::Forecast(ask) => &ask.args,
            ProjectVerb::Aggregate(ask) => &ask.args,
            ProjectVerb::ExportWeights(export) => &export.args,
            ProjectVerb::ImportWeights(import) => &import.args,
        }
    }

    fn act(&self, ctx: &Ctx) -> Result<Finish, Failure> {
        let project = ProjectConfig::load(self.args())?;
        let config: x5_dl::Config = project.section("train")?;
        let plan = config.resolve(&project.project)?;
        match self {
            ProjectVerb::Stage(Verb::Run(_)) => x5_dl::run(&plan, ctx),
            ProjectVerb::Stage(Verb::Plan(_)) => Ok(x5_dl::describe(&plan)),
            ProjectVerb::Stage(Verb::Verify(_)) => x5_dl::verify(&plan),
            ProjectVerb::Compare(_) => x5_dl::compare(&plan),
            ProjectVerb::Forecast(ForecastArgs { models, split, name, .. }) => {
                let ask = Forecast { models: models.clone(), split: *split, name: name.clone() };
                x5_dl::forecast(&plan, &ask, ctx)
            }
            ProjectVerb::Aggregate(AggregateArgs { model, regions, windows, .. }) => {
                let ask =
                    Aggregate { model: model.clone(), regions: regions.clone(), windows: windows.clone() };
                x5_dl::aggregate(&plan, &ask)
            }
            ProjectVerb::ExportWeights(export) => {
                x5_dl::export_weights(&plan, &export.model, export.out.as_deref())
            }
            ProjectVerb::ImportWeights(import) => {
                x5_dl::import_weights(&plan, &import.model, &import.file, import.out.as_deref())
            }
        }
    }
}

impl ScoreArgs {
    /// The shared flags; there is no project.
    fn args(&self) -> Args {
        Args { threads: self.threads, verbose: self.verbose, quiet: self.quiet, ..Args::default() }
    }

    fn act(&self, ctx: &Ctx) -> Result<Finish, Failure> {
        let ScoreArgs { predictions, targets, out, .. } = self.clone();
        x5_dl::score_files(&ScoreFiles { predictions, targets, out }, ctx)
    }
}

fn main() -> ExitCode {
    x5_dl::tune_allocator();
    x5_dl::stop_on_signals();
    let cli = Cli::parse();
    minicube::open_buckets_with(minicube_s3::open);
    let (name, version) = ("x5-dl", env!("CARGO_PKG_VERSION"));
    match &cli.command {
        Command::Project(verb) => minicube::run::main(name, version, verb.args(), |ctx| verb.act(ctx)),
        Command::Score(ask) => minicube::run::main(name, version, &ask.args(), |ctx| ask.act(ctx)),
    }
}
