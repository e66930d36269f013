//! In which order the cells of a stratum are drawn: at random, or so that every beginning is spread evenly.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::candidates::Candidate;
use crate::draw::Rules;

/// The open candidates of each stratum as stacks: the next one to draw is the last. Each stratum has a random stream of
/// its own, so that a change in one does not move the others.
pub(crate) fn queues(
    candidates: &[Candidate],
    strata: usize,
    rules: &Rules,
    open: impl Fn(&Candidate) -> bool,
) -> Vec<Vec<u32>> {
    let mut queues: Vec<Vec<u32>> = vec![Vec::new(); strata];
    for (index, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| open(candidate)) {
        queues[candidate.stratum as usize].push(index as u32);
    }
    for (stratum, queue) in queues.iter_mut().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(rules.seed);
        rng.set_stream(stratum as u64);
        if rules.balanced {
            spread(queue, candidates, &mut rng);
        } else {
            queue.shuffle(&mut rng);
        }
    }
    queues
}

/// Orders cells so that any number of them from the end is spread evenly: along a Hilbert curve, from a random start,
/// the ranks are taken in the order of their reversed bits (van der Corput), which halves the gaps again and again. The
/// start is uniform, so every cell has the same chance: n of N for a sample of n. The idea is that of generalised
/// random-tessellation stratified sampling (Stevens and Olsen 2004, doi:10.1198/016214504000000250), with systematic
/// sampling along the curve in place of random digits.
fn spread(queue: &mut [u32], candidates: &[Candidate], rng: &mut ChaCha8Rng) {
    if queue.is_empty() {
        return;
    }
    queue.sort_by_cached_key(|&index| (place_on_curve(&candidates[index as usize]), index));
    let start = rng.random_range(0..queue.len());
    queue.rotate_left(start);
    let bits = usize::BITS - (queue.len() - 1).leading_zeros();
    let mut ranked: Vec<(usize, u32)> =
        queue.iter().enumerate().map(|(rank, &index)| (reversed(rank, bits), index)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    for (slot, (_, index)) in queue.iter_mut().zip(ranked) {
        *slot = index;
    }
}

/// The lowest `bits` bits of a number, reversed.
fn reversed(number: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { number.reverse_bits() >> (usize::BITS - bits) }
}

/// Position along a Hilbert curve of 2^16 × 2^16 steps over a cylindrical equal-area map of the globe.
fn place_on_curve(candidate: &Candidate) -> u64 {
    const ORDER: u32 = 16;
    let side = f64::from(1_u32 << ORDER);
    let step = |part: f64| ((part * side) as u32).min((1 << ORDER) - 1);
    let x = step((candidate.center.lon + 180.0) / 360.0);
    let y = step((candidate.center.lat.to_radians().sin() + 1.0) / 2.0);
    hilbert(x, y, ORDER)
}

/// Distance along the Hilbert curve of the given order to the square (x, y).
fn hilbert(mut x: u32, mut y: u32, order: u32) -> u64 {
    let mut distance = 0;
    for level in (0..order).rev() {
        let half = 1_u32 << level;
        let (right, up) = (u32::from(x & half > 0), u32::from(y & half > 0));
        distance += u64::from(half) * u64::from(half) * u64::from((3 * right) ^ up);
        // Each quarter of the curve is a turned or mirrored copy of the whole.
        if up == 0 {
            if right == 1 {
                x = (half - 1).wrapping_sub(x) & (half.wrapping_mul(2).wrapping_sub(1));
                y = (half - 1).wrapping_sub(y) & (half.wrapping_mul(2).wrapping_sub(1));
            }
            std::mem::swap(&mut x, &mut y);
        }
        x &= half - 1;
        y &= half - 1;
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curve visits every square of a 16 × 16 board once, always going to a neighbour.
    #[test]
    fn the_curve_is_a_walk_over_all_squares() {
        let mut squares: Vec<(u64, (i32, i32))> =
            (0..16).flat_map(|y| (0..16).map(move |x| (hilbert(x, y, 4), (x as i32, y as i32)))).collect();
        squares.sort_unstable();
        for (expected, (distance, _)) in squares.iter().enumerate() {
            assert_eq!(*distance, expected as u64);
        }
        for pair in squares.windows(2) {
            let ((_, a), (_, b)) = (pair[0], pair[1]);
            assert_eq!((a.0 - b.0).abs() + (a.1 - b.1).abs(), 1, "{a:?} {b:?}");
        }
    }

    #[test]
    fn bits_are_reversed_within_their_number() {
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(|n| reversed(n, 3)), [0, 4, 2, 6, 1, 5, 3, 7]);
        assert_eq!(reversed(0, 0), 0);
    }
}
