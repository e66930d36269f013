//! `cargo xtask demo`: the whole chain on the synthetic Earth, one folder a region, one table, one index page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::chain::Row;
use crate::failure::fail;
use crate::pipeline::stages;
use crate::state::State;
use crate::workspace::{build_binaries, root};
use crate::world::World;
use crate::{index, report, setup};

/// Port that the project files under `configs/` name.
const DEFAULT_PORT: u16 = 8917;

/// Flags of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to make; holds one project folder per region and index.html
    #[arg(long, default_value = "demo")]
    out: PathBuf,
    /// Loopback port of the synthetic Earth
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Regions to run; each has a `configs/demo-<region>.toml`
    #[arg(long, value_delimiter = ',', default_values = ["africa", "europe"])]
    regions: Vec<String>,
    /// Folder of ready binaries; without it they are built
    #[arg(long)]
    bins: Option<PathBuf>,
}

/// One region on its way through the chain.
pub(crate) struct Region {
    pub(crate) name: String,
    /// Its project folder.
    pub(crate) folder: PathBuf,
    config: String,
}

/// What the regions' stages did, and whether anything had to be done at all.
pub(crate) struct Done {
    pub(crate) rows: Vec<(String, Row)>,
    /// Stages that were not complete before.
    pub(crate) ran: usize,
}

/// Runs `demo`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let out = args.out.canonicalize()?;
    let regions = regions(&args.regions, args.port, &out)?;
    let bins = match &args.bins {
        Some(folder) => folder.canonicalize().with_context(|| folder.display().to_string())?,
        None => {
            setup::ensure(false)?;
            build_binaries()?
        }
    };
    let built = Instant::now();
    let done = run_regions(&regions, &bins, args.port, &out, &[])?;
    let page = index::write(&out, &regions, &done.rows)?;
    print(&done.rows);
    println!();
    match done.ran {
        0 => println!("nothing to do: all stages are complete ({:.1} s)", start.elapsed().as_secs_f64()),
        n => println!("{n} stages in {} after the build", report::seconds(built.elapsed().as_secs_f64())),
    }
    println!("all reports: {}", page.display());
    let gaps: usize = done.rows.iter().map(|(_, row)| row.failed).sum();
    Ok(if gaps == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named regions, their project files written under `out` with the port in use.
pub(crate) fn regions(names: &[String], port: u16, out: &Path) -> Result<Vec<Region>> {
    let template = |name: &String| root().join("configs").join(format!("demo-{name}.toml"));
    names.iter().map(|name| region(name, &template(name), port, out)).collect()
}

/// A region made from any project file that names the default port.
pub(crate) fn region(name: &str, template: &Path, port: u16, out: &Path) -> Result<Region> {
    let text = fs::read_to_string(template).map_err(|error| {
        fail(format!("region {name}: {}: {error}", template.display()), "known regions: africa, europe")
    })?;
    let config = text.replace(&format!("127.0.0.1:{DEFAULT_PORT}"), &format!("127.0.0.1:{port}"));
    let folder = out.join(name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("project.toml");
    if fs::read_to_string(&file).ok().as_ref() != Some(&config) {
        fs::write(&file, &config).with_context(|| file.display().to_string())?;
    }
    Ok(Region { name: name.to_string(), folder, config })
}

/// Runs the stages that have a section and are not complete; the synthetic Earth is started for them only, with `more` flags of its own.
pub(crate) fn run_regions(
    regions: &[Region],
    bins: &Path,
    port: u16,
    out: &Path,
    more: &[&str],
) -> Result<Done> {
    let mut done = Done { rows: Vec::new(), ran: 0 };
    let mut world = None;
    for region in regions {
        let chain = stages(&region.folder.join("project.toml"), None, None)?;
        let mut state = State::load(&region.folder, &region.config);
        let complete =
            chain.iter().take_while(|stage| state.finished(stage, &region.folder).is_some()).count();
        done.rows.extend(chain[..complete].iter().filter_map(|stage| {
            state.finished(stage, &region.folder).map(|row| (region.name.clone(), row.clone()))
        }));
        state.forget_from(&chain, complete);
        for stage in &chain[complete..] {
            if world.is_none() {
                world = Some(World::start(bins, port, &out.join("testworld"), more)?);
            }
            println!("{:<7} {:<14} {} …", region.name, stage.bin, stage.verb);
            let row = stage.run(bins, &region.folder.join("project.toml"), &region.folder)?;
            println!("{:<7} {:<14} {} items, {}", "", "", row.items, report::seconds(row.seconds));
            state.record(&region.folder, row.clone())?;
            done.rows.push((region.name.clone(), row));
            done.ran += 1;
        }
    }
    if let Some(world) = world {
        println!("testworld peak memory {}", report::bytes(world.peak_rss_bytes()));
    }
    Ok(done)
}

/// Prints the one table.
fn print(rows: &[(String, Row)]) {
    println!();
    let cells: Vec<_> = rows.iter().map(|(region, row)| table_row(region, row)).collect();
    report::print_table(&index::HEADER, &cells);
}

/// A row as the cells of [`index::HEADER`].
pub(crate) fn table_row(region: &str, row: &Row) -> Vec<String> {
    let items = match row.failed {
        0 => row.items.to_string(),
        failed => format!("{} ({failed} failed)", row.items),
    };
    vec![
        region.to_string(),
        row.stage.clone(),
        items,
        report::seconds(row.seconds),
        report::bytes(row.bytes),
        report::bytes(row.peak_rss_bytes),
    ]
}
