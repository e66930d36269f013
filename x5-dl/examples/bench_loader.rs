//! Times how fast the samples of a project's Level 2 are read and made ready for each of its models, beside what the model's
//! training steps take; also the peak memory of the reading. The project file is `BENCH_PROJECT`, `cargo xtask bench skill`
//! leaves one. Prints JSON objects.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::path::PathBuf;

use minicube::run::{Args, Config, peak_rss_bytes};
use x5_dl::bench::loading;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    x5_dl::tune_allocator();
    let config = PathBuf::from(std::env::var_os("BENCH_PROJECT").ok_or("BENCH_PROJECT is not set")?);
    let setting = |name, usual| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (threads, repeats, batches) =
        (setting("BENCH_THREADS", 2), setting("BENCH_REPEATS", 2), setting("BENCH_BATCHES", 50));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let dir = config.parent().map(PathBuf::from);
    let config = Config::load(&Args { config, dir, ..Args::default() })?;
    let train: x5_dl::Config = config.section("train")?;
    let plan = train.resolve(&config.project)?;
    for model in &plan.models {
        let found = loading(&plan.level2, model, batches as u64, repeats)?;
        let peak = peak_rss_bytes() as f64 / 1e6;
        let note = format!("{batches} batches of {}, {threads} threads", model.sampling.batch);
        for (what, value, unit) in [
            ("loaded", found.loaded, "samples/s"),
            ("trained", found.trained, "samples/s"),
            ("trained over loaded", found.trained / found.loaded, "1"),
            ("peak memory so far", peak, "MB"),
        ] {
            println!(
                r#"{{"name":"loader/{}/{what}","ours":{value:.4},"unit":"{unit}","note":"{note}"}}"#,
                model.name
            );
        }
    }
    Ok(())
}
