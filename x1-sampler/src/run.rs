//! The loop: tiles → candidates → draw → table and report; and what the other verbs print.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Instant;

use minicube::run::{Config as ProjectFile, Ctx, Failure, Finish, Run, Verb};
use minicube::{LocationTable, Outcome, Tile, plan_hash};
use serde_json::Value;

use crate::aoi::Lies;
use crate::candidates::{cells_inside, check_rasters, find};
use crate::config::{Config, Format};
use crate::plan::Plan;
use crate::report::page;
use crate::sample::sample;
use crate::verify::{split_counts, violations};

const STAGE: &str = "x1-sampler";
const VERSION: &str = env!("CARGO_PKG_VERSION");

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
            .hint("add [sampler] with at least one of aoi, bbox, aoi_file or tiles, and count"));
    }
    let plan = file.section::<Config>("sampler")?.resolve(&file.project)?;
    match verb {
        Verb::Run(_) => run(&plan, ctx),
        Verb::Plan(_) => describe(&plan),
        Verb::Verify(_) => verify(&plan),
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
    check_rasters(&plan.layers)?;
    let tiles = plan.aoi.find_tiles()?;
    let bar = ctx.progress("tiles", tiles.len() as u64);
    let population = find(&tiles, &plan.aoi, &plan.grid, &plan.layers, || bar.inc(1))?;
    bar.finish();
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
    let path = plan.folder.join("locations.parquet");
    sample.table.write(&path)?;
    run.output(&path);

    let drawn = sample.table.locations.len();
    run.note("locations", drawn);
    run.note("tiles", sample.table.tiles().len());
    run.note("candidate cells", population.candidates.len());
    run.note("joint strata", population.strata.len());
    for (split, count) in split_counts(&sample.table) {
        run.note(split.name(), count);
    }
    let bytes = fs::metadata(&path).map_or(0, |file| file.len());
    run.outcome(Outcome::ok("locations", clock.elapsed().as_secs_f64(), bytes));
    if drawn < plan.count {
        let reason = format!(
            "{} of {} locations could not be drawn: too few cells, or the distance or the tile cap is too tight",
            plan.count - drawn,
            plan.count
        );
        run.outcome(Outcome::failed("shortfall", reason));
    }
    run.finish(&plan.folder, Some(page(plan, &tiles, &population, &sample)))
}

/// What would be done.
///
/// # Errors
/// A [`Failure`] as for a run, as far as it shows without reading the rasters' pixels.
pub fn describe(plan: &Plan) -> Result<Finish, Failure> {
    check_rasters(&plan.layers)?;
    let tiles = plan.aoi.find_tiles()?;
    let mut text = format!("{STAGE} plan {}\n", plan_hash(plan));
    let mut cells = Vec::with_capacity(tiles.len());
    for (tile, lies) in &tiles {
        cells.push(cells_inside(tile, *lies, &plan.aoi, &plan.grid)?.0.len());
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
    line("design", format!("{:?}, alpha {}", plan.design, plan.alpha).to_lowercase());
    for (stratum, raster) in &plan.rasters {
        let legend = raster.legend.as_ref().map(|legend| format!(", legend {legend}")).unwrap_or_default();
        line(stratum, format!("{}{legend}", raster.source));
    }
    let cap = plan.per_tile_max.map_or("no cap".to_owned(), |cap| format!("at most {cap}"));
    line("a tile", cap);
    line("distance", format!("at least {} m", plan.min_distance_m));
    let [train, val, test] = plan.split_shares();
    line("split", format!("train {train}, val {val}, test {test}, in blocks of {} km", plan.split.block_km));
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
