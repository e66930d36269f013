//! Times one training step of the published ConvLSTM (201 424 parameters, 10 → 20 steps) on crops of 32 × 32 pixels,
//! batch 4: loss, gradient and Adam. Prints one JSON object. The peer is `xtask/peers/bench_train.py`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use x5_dl::bench::convlstm_step;

fn main() -> Result<(), x5_dl::Error> {
    x5_dl::tune_allocator();
    let threads = std::env::var("BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let repeats = std::env::var("BENCH_REPEATS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let seconds = convlstm_step(4, 32, repeats)?;
    let note = format!(
        "201424 parameters, batch 4, 32 x 32 px, 10 + 20 steps, {threads} threads, best of {repeats}"
    );
    println!(r#"{{"name":"convlstm_step","ours":{seconds:.4},"unit":"s","note":"{note}"}}"#);
    Ok(())
}
