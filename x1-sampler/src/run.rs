//! The loop: tiles → candidates → draw → table and report; and what the other verbs print.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::run::{Args, Config as ProjectFile, Ctx, Failure, Finish, Run};
use minicube::{LocationTable, Outcome, Tile, plan_hash, write_atomic};
use serde_json::Value;

use crate::Error;
use crate::aoi::Lies;
use crate::balance::{divergence, effective_size};
use crate::candidates::{Population, cells_inside, check_rasters, describe_lost, find};
use crate::config::{Config, Format};
use crate::judge::judge;
use crate::land_tiles::is_land_tile;
use crate::plan::Plan;
use crate::points::read_points;
use crate::report::{judgement, largest_deviation, page};
use crate::sample::{Sample, sample};
use crate::spread::clustering;
use crate::verify::{split_counts, violations};

const STAGE: &str = "x1-sampler";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const PRODUCTS: &str = "products.toml";

/// What the command line asks for.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Draw the sample; does nothing where it is there already.
    Run(Args),
    /// Check the configuration and print tiles, cells and targets; writes nothing.
    Plan(Args),
    /// Read the table back and prove every promise.
    Verify(Args),
    /// Judge any table of longitudes and latitudes by the area and strata of a project: how biased is it?
    Check {
        /// CSV, Parquet, GeoJSON or whatever else GDAL reads.
        table: PathBuf,
        /// The usual flags.
        #[command(flatten)]
        args: Args,
    },
}

impl Verb {
    /// The flags.
    #[must_use]
    pub fn args(&self) -> &Args {
        match self {
            Verb::Run(args) | Verb::Plan(args) | Verb::Verify(args) | Verb::Check { args, .. } => args,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// A [`Failure`] for everything that keeps the sampler from running, with a hint.
pub fn execute(verb: &Verb, ctx: &Ctx) -> Result<Finish, Failure> {
    if ctx.shard.is_some() {
        return Err(Failure::new("--shard: the sampler looks at all tiles together and cannot be divided")
            .hint("run x1-sampler once without --shard; the later stages can be divided"));
    }
    let file = ProjectFile::load(verb.args())?;
    if !file.has_section("sampler") {
        return Err(Failure::new(format!("{}: section [sampler] is missing", file.path.display()))
            .hint("add [sampler] with at least one of aoi, bbox, aoi_file, countries or tiles, and count"));
    }
    let plan = file.section::<Config>("sampler")?.resolve(&file.project)?;
    match verb {
        Verb::Run(_) => run(&plan, ctx),
        Verb::Plan(_) => describe(&plan),
        Verb::Verify(_) => verify(&plan),
        Verb::Check { table, .. } => check(&plan, table, ctx),
    }
}

/// Draws the sample and writes table, report and manifest; does nothing if all that is there already.
///
/// # Errors
/// A [`Failure`] if a raster or file cannot be read, nothing can be drawn, or the output cannot be written.
pub fn run(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let clock = Instant::now();
    let mut run = Run::start(STAGE, VERSION, ctx, plan, plan.seed);
    let hash = run.plan_hash().to_owned();
    if is_done(plan, &hash) {
        run.outcome(Outcome::skipped("locations", "done before"));
        return run.finish(&plan.folder, None);
    }
    let (tiles, population) = population(plan, ctx)?;
    let sample = sample(plan, &hash, &tiles, &population)?;

    fs::create_dir_all(&plan.folder).map_err(|source| minicube::Error::Io {
        path: plan.folder.clone(),
        action: "create",
        source,
    })?;
    for format in &plan.formats {
        let path = plan.folder.join(file_of(*format));
        match format {
            Format::Geojson => sample.table.write_geojson(&path)?,
            Format::Csv => sample.table.write_csv(&path)?,
        }
        run.output(&path);
    }
    let path = plan.folder.join(PRODUCTS);
    write_atomic(&path, products_text(plan)?.as_bytes())?;
    run.output(&path);
    let path = plan.folder.join("locations.parquet");
    sample.table.write(&path)?;
    run.output(&path);

    let drawn = sample.table.locations.len();
    run.note("locations", drawn);
    run.note("tiles", sample.table.tiles().len());
    run.note("candidate cells", population.candidates.len());
    run.note("joint strata", population.strata.len());
    run.note("merged strata", population.merged.len());
    run.note("left out", describe_lost(&population.lost));
    let weights = sample.table.locations.iter().map(|location| location.weight);
    run.note("largest deviation", rounded(largest_deviation(plan, &sample)));
    run.note("effective sample size", (effective_size(weights) * 10.0).round() / 10.0);
    for (split, count) in split_counts(&sample.table) {
        run.note(split.name(), count);
    }
    let bytes = fs::metadata(&path).map_or(0, |file| file.len());
    run.outcome(Outcome::ok("locations", clock.elapsed().as_secs_f64(), bytes));
    if drawn < plan.count {
        run.outcome(Outcome::failed("shortfall", shortfall(plan, &population, &sample)));
    }
    for idle in plan.shares.idle_rows(&plan.columns(), &population.strata) {
        run.outcome(Outcome::failed(
            "target",
            format!("no cell is {idle}: its share went to the other rows"),
        ));
    }
    run.finish(&plan.folder, Some(page(plan, &tiles, &population, &sample)))
}

/// Judges a table of locations by the area and strata of a plan; writes `check-<name>/report.html` and `run.json` beside
/// the sample.
///
/// # Errors
/// A [`Failure`] if the table or a raster cannot be read.
pub fn check(plan: &Plan, table: &Path, ctx: &Ctx) -> Result<Finish, Failure> {
    let clock = Instant::now();
    let points = read_points(table)?;
    let mut run = Run::start(STAGE, VERSION, ctx, plan, plan.seed);
    run.input(table);
    let (tiles, population) = population(plan, ctx)?;
    let judged = judge(&points, &tiles, &population, &plan.grid)?;
    let name = table.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if judged.found.is_empty() {
        return Err(Failure::new(format!(
            "{}: none of {} locations lies in a cell of {}",
            table.display(),
            points.places.len(),
            plan.area.name
        ))
        .hint(
            "check that the table's longitudes and latitudes are of this area, and that the rasters cover it",
        ));
    }
    let sizes: Vec<f64> = population.sizes.iter().map(|&size| size as f64).collect();
    let drawn: Vec<f64> = judged.drawn.iter().map(|&count| count as f64).collect();
    let centers: Vec<minicube::LonLat> = population.candidates.iter().map(|c| c.center).collect();
    run.note("locations", points.places.len());
    run.note("in the population", judged.found.len());
    run.note("candidate cells", population.candidates.len());
    run.note("divergence from the population", rounded(divergence(&drawn, &sizes)));
    run.note("clustering index", rounded(clustering(&judged.places(&points), &centers, plan.seed)));
    run.outcome(Outcome::ok("check", clock.elapsed().as_secs_f64(), 0));
    let page = judgement(plan, &name, &tiles, &population, &points, &judged);
    run.finish(&plan.folder.join(format!("check-{name}")), Some(page))
}

/// The tiles of a plan's area and all candidates in them, in joint strata.
///
/// # Errors
/// As [`find`], and [`Error::NoTiles`].
pub fn population(plan: &Plan, ctx: &Ctx) -> Result<(Vec<(Tile, Lies)>, Population), Error> {
    check_rasters(&plan.layers)?;
    let tiles = tiles_of(plan)?;
    let bar = ctx.progress("tiles", tiles.len() as u64);
    let found = find(&tiles, &plan.aoi, &plan.grid, &plan.layers, &plan.sources, || bar.inc(1))?;
    bar.finish();
    let columns = plan.columns();
    let target = |strata: &[Vec<String>], sizes: &[usize]| -> Vec<f64> {
        let shares = plan.shares.of(&columns, strata, sizes);
        shares.into_iter().map(|share| share * plan.count as f64).collect()
    };
    Ok((tiles, found.stratify(target, plan.stratum_min)))
}

/// The tiles of the area; those of open sea only if they are named or asked for.
fn tiles_of(plan: &Plan) -> Result<Vec<(Tile, Lies)>, Error> {
    let mut tiles = plan.aoi.find_tiles()?;
    if !plan.area.sea_tiles && plan.aoi.tiles.is_empty() {
        tiles.retain(|(tile, _)| is_land_tile(&tile.id));
        if tiles.is_empty() {
            return Err(Error::NoTiles { aoi: plan.aoi.name.clone() });
        }
    }
    Ok(tiles)
}

/// Why fewer locations were drawn than wanted.
fn shortfall(plan: &Plan, population: &Population, sample: &Sample) -> String {
    let missing = plan.count - sample.draw.chosen.len();
    let open: usize = sample.draw.open.iter().sum();
    let mut causes = vec![format!("{} cells are candidates", population.candidates.len())];
    if open < population.candidates.len() {
        causes.push(format!("{open} of them lie in the chosen tiles and outside the buffers between splits"));
    }
    if sample.draw.passed_over > 0 {
        causes.push(format!(
            "{} were passed over because they are nearer than {} m to another location or in a full tile",
            sample.draw.passed_over, plan.min_distance_m
        ));
    }
    format!("{missing} of {} locations could not be drawn: {}", plan.count, causes.join(", "))
}

/// The products, sources and variables of interest as a file for the next stage and for people.
fn products_text(plan: &Plan) -> Result<String, Failure> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        products: &'a std::collections::BTreeMap<String, crate::config::Product>,
    }
    let text = toml::to_string_pretty(&File { products: &plan.products })
        .map_err(|error| Failure::new(format!("{PRODUCTS}: {error}")))?;
    Ok(format!("# What is to be fetched for each location: product, where from, which variables.\n\n{text}"))
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// What would be done.
///
/// # Errors
/// A [`Failure`] as for a run, as far as it shows without reading the rasters' pixels.
pub fn describe(plan: &Plan) -> Result<Finish, Failure> {
    check_rasters(&plan.layers)?;
    let tiles = tiles_of(plan)?;
    let mut text = format!("{STAGE} plan {}\n", plan_hash(plan));
    let mut cells = Vec::with_capacity(tiles.len());
    let area = plan.aoi.index();
    for (tile, lies) in &tiles {
        cells.push(cells_inside(tile, *lies, &area, &plan.grid)?.0.len());
    }
    let total: usize = cells.iter().sum();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    line("area", plan.area.name.clone());
    line("tiles", format!("{} ({})", tiles.len(), some_tiles(&tiles)));
    line("cells", format!("{total} of {} m at most, before water and missing data", plan.grid.cell_size_m()));
    line("locations", format!("{} with seed {}", plan.count, plan.seed));
    let design = format!("{:?}, alpha {}", plan.shares.design, plan.shares.alpha).to_lowercase();
    line("design", format!("{design}{}", if plan.balanced { ", spread evenly" } else { "" }));
    line("strata", if plan.sources.is_empty() { "none".into() } else { plan.columns().join(", ") });
    for (stratum, raster) in &plan.rasters {
        line(stratum, raster.source.clone());
    }
    if let Some(budget) = plan.tiles_max {
        line("best tiles", budget.to_string());
    }
    let cap = plan.per_tile_max.map_or("no cap".to_owned(), |cap| format!("at most {cap}"));
    line("a tile", cap);
    line("distance", format!("at least {} m", plan.min_distance_m));
    let [train, val, test] = plan.split_shares();
    let (block, buffer) = (plan.split.block_km, plan.split.buffer_km);
    line("split", format!("train {train}, val {val}, test {test}, blocks of {block} km, {buffer} km apart"));
    line("output", plan.folder.display().to_string());
    line("state", if is_done(plan, &plan_hash(plan)) { "done".into() } else { "to do".into() });
    if total == 0 {
        return Err(Failure::new(format!(
            "no cell lies wholly inside the area of interest {}",
            plan.area.name
        ))
        .hint("a cell is a few kilometres wide: widen the area"));
    }
    Ok(Finish::text_only(text.trim_end()))
}

/// Reads the table back and checks every promise.
///
/// # Errors
/// A [`Failure`] if the table cannot be read.
pub fn verify(plan: &Plan) -> Result<Finish, Failure> {
    let path = plan.folder.join("locations.parquet");
    let table = LocationTable::read(&path)?;
    let mut found = violations(&table)?;
    let hash = plan_hash(plan);
    if table.meta.get("plan_hash").and_then(Value::as_str) != Some(&hash) {
        found
            .push(format!("{}: was drawn by another plan than {hash}, run x1-sampler again", path.display()));
    }
    let splits: Vec<String> =
        split_counts(&table).iter().map(|(split, count)| format!("{split} {count}")).collect();
    let head = format!(
        "{STAGE} verify: {} locations in {} tiles, {}",
        table.locations.len(),
        table.tiles().len(),
        splits.join(", ")
    );
    if found.is_empty() {
        return Ok(Finish::text_only(format!("{head}: all promises kept")));
    }
    let shown: Vec<String> = found.iter().take(20).map(|violation| format!("  {violation}")).collect();
    Ok(Finish::with_gaps(format!("{head}: {} violations\n{}", found.len(), shown.join("\n"))))
}

/// Whether a run of the same plan left everything it writes.
fn is_done(plan: &Plan, hash: &str) -> bool {
    let same = |value: Option<&Value>| value.and_then(Value::as_str) == Some(hash);
    let table = LocationTable::read(&plan.folder.join("locations.parquet"));
    table.is_ok_and(|table| same(table.meta.get("plan_hash")))
        && read_json(&plan.folder.join("run.json")).is_some_and(|manifest| same(manifest.get("plan_hash")))
        && plan.folder.join("report.html").is_file()
        && plan.folder.join(PRODUCTS).is_file()
        && plan.formats.iter().all(|format| plan.folder.join(file_of(*format)).is_file())
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn file_of(format: Format) -> &'static str {
    match format {
        Format::Geojson => "locations.geojson",
        Format::Csv => "locations.csv",
    }
}

fn some_tiles(tiles: &[(Tile, Lies)]) -> String {
    let first: Vec<&str> = tiles.iter().take(6).map(|(tile, _)| tile.id.as_str()).collect();
    format!("{}{}", first.join(" "), if tiles.len() > first.len() { " …" } else { "" })
}
