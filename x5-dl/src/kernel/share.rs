//! Threads that one convolution may use: more than its own where a batch has fewer parts than the machine has threads.

use std::cell::Cell;

use rayon::prelude::*;

thread_local! {
    static THREADS: Cell<usize> = const { Cell::new(1) };
}

/// Runs `work`, each of whose kernels may use so many threads.
pub(crate) fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    let before = THREADS.replace(threads.max(1));
    let result = work();
    THREADS.set(before);
    result
}

/// Makes the values of `channels` channels, which do not depend on each other, in blocks of whole multiples of `unit`; `make`
/// gets the first channel of a block and the one after its last. The same bits on any number of threads.
pub(super) fn by_channel(
    channels: usize,
    unit: usize,
    make: impl Fn(usize, usize) -> Vec<f32> + Sync,
) -> Vec<f32> {
    let threads = THREADS.get();
    let block = channels.div_ceil(threads).next_multiple_of(unit);
    if threads == 1 || block >= channels {
        return make(0, channels);
    }
    let starts: Vec<usize> = (0..channels).step_by(block).collect();
    let parts: Vec<Vec<f32>> =
        starts.into_par_iter().map(|from| make(from, (from + block).min(channels))).collect();
    parts.concat()
}
