//! Times EarthNetScore of made-up cubes of EarthNet2021's size, as `x5-dl score` computes it: `BENCH_CUBES` (24) cubes in
//! files that the peer, `xtask/peers/bench_scores.py`, has written. Prints JSON objects.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::path::PathBuf;
use std::time::Instant;

use minicube::run::Ctx;
use x5_dl::{FileScores, ScoreFiles, score_files};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    x5_dl::tune_allocator();
    let folder = PathBuf::from(std::env::var_os("BENCH_FOLDER").ok_or("BENCH_FOLDER is not set")?);
    let threads = std::env::var("BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let out = folder.join("scores");
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    let ask = ScoreFiles {
        predictions: folder.join("predictions"),
        targets: folder.join("targets"),
        out: Some(out.clone()),
    };
    let clock = Instant::now();
    score_files(&ask, &Ctx::quiet(threads)).map_err(|failure| failure.to_string())?;
    let seconds = clock.elapsed().as_secs_f64();
    let found: FileScores = serde_json::from_slice(&std::fs::read(out.join("scores.json"))?)?;
    let cubes = found.cubes.len();
    println!(
        r#"{{"name":"scores_earthnet","ours":{seconds:.3},"unit":"s","note":"{cubes} cubes of 128 x 128 px x 20 frames, {threads} threads"}}"#
    );
    let ens = found.score.ens.unwrap_or(f64::NAN);
    println!(
        r#"{{"name":"scores_earthnet_value","ours":{ens:.6},"unit":"1","note":"EarthNetScore of the same files"}}"#
    );
    Ok(())
}
