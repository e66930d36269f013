//! Times a training step (loss, gradient and Adam) of the published ConvLSTM (201 424 parameters, 10 → 20 steps) on
//! two crops of 64 × 64 pixels and on one, and of the published pixelwise RNN (416 865 parameters) on 16 384 pixels × 36 steps;
//! also the peak memory, for which each runs in a process of its own. Prints JSON objects. The peer is
//! `xtask/peers/bench_train.py`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::process::{Command, ExitCode};

use minicube::run::peak_rss_bytes;
use x5_dl::bench::{convlstm_step, rnn_step};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    x5_dl::tune_allocator();
    let Some(name) = std::env::args().nth(1) else {
        for name in ["convlstm", "convlstm_of_one", "gru"] {
            if !Command::new(std::env::current_exe()?).arg(name).status()?.success() {
                return Ok(ExitCode::FAILURE);
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let setting = |name, usual| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (threads, repeats) = (setting("BENCH_THREADS", 2), setting("BENCH_REPEATS", 3));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let (seconds, what) = match name.as_str() {
        "convlstm" => {
            (convlstm_step(2, 64, repeats)?, "201424 parameters, batch 2, 64 x 64 px, 10 + 20 steps")
        }
        "convlstm_of_one" => (convlstm_step(1, 64, repeats)?, "the same of batch 1"),
        _ => (rnn_step(16_384, 36, 192, repeats)?, "416865 parameters, 16384 px, 36 steps"),
    };
    let note = format!("{what}, {threads} threads, best of {repeats}");
    println!(r#"{{"name":"{name}_step","ours":{seconds:.4},"unit":"s","note":"{note}"}}"#);
    let peak = peak_rss_bytes() as f64 / 1e6;
    println!(r#"{{"name":"{name}_step/peak memory","ours":{peak:.1},"unit":"MB","note":"{note}"}}"#);
    Ok(ExitCode::SUCCESS)
}
