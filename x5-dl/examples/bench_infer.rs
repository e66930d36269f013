//! Times how long the published ConvLSTM (201 424 parameters, 10 → 20 steps) takes to forecast 19 variants of a cube
//! of 128 × 128 pixels, as an explanation asks for them. Prints JSON objects. The peer is
//! `xtask/peers/bench_infer.py`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use minicube::run::peak_rss_bytes;
use x5_dl::bench::convlstm_forecasts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    x5_dl::tune_allocator();
    let setting = |name, usual| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (threads, repeats) = (setting("BENCH_THREADS", 2), setting("BENCH_REPEATS", 2));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let seconds = convlstm_forecasts(19, 128, repeats)?;
    let note = format!("19 cubes of 128 x 128 px, 10 + 20 steps, {threads} threads, best of {repeats}");
    println!(r#"{{"name":"convlstm_forecasts","ours":{seconds:.4},"unit":"s","note":"{note}"}}"#);
    let peak = peak_rss_bytes() as f64 / 1e6;
    println!(r#"{{"name":"convlstm_forecasts/peak memory","ours":{peak:.1},"unit":"MB","note":"{note}"}}"#);
    Ok(())
}
