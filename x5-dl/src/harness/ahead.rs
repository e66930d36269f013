//! Batches made ahead of the steps that need them, so that reading and training overlap.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

/// Batches that wait at most, beside the one that is being made.
const WAITING: usize = 2;

/// Calls `work` with a function that gives what `make` makes of each number, in order; `None` after the last one. With more
/// than one thread it is made in a thread of its own, some ahead.
pub(crate) fn ahead<T: Send, R>(
    numbers: Range<u64>,
    make: impl Fn(u64) -> T + Sync,
    work: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R,
) -> R {
    if rayon::current_num_threads() < 2 {
        let mut made = numbers.map(make);
        return work(&mut || made.next());
    }
    let make = &make;
    std::thread::scope(|scope| {
        // The receiver ends with `work`, and then the sender: nothing waits for ever.
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(move || {
            for number in numbers {
                if sender.send(make(number)).is_err() {
                    break;
                }
            }
        });
        work(&mut move || receiver.recv().ok())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn all_come_in_order_and_then_none() {
        let found = ahead(3..9, |n| 10 * n, |next| std::iter::from_fn(next).collect::<Vec<_>>());
        assert_eq!(found, [30, 40, 50, 60, 70, 80]);
    }

    #[test]
    fn work_that_ends_early_ends_the_making() {
        let made = AtomicU64::new(0);
        let make = |n| {
            made.fetch_add(1, Ordering::Relaxed);
            n
        };
        assert_eq!(ahead(0..1_000_000, make, |next| (next(), next())), (Some(0), Some(1)));
        // The two taken, those that wait, and one in the sender's hands.
        assert!(made.load(Ordering::Relaxed) <= 2 + WAITING as u64 + 2, "{made:?}");
    }
}
