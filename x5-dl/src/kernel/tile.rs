//! Sums of products that stay in registers until they are whole.

use super::simd::{Aligned, LANES, Lanes, Register, total};

/// A tile as numbers.
#[inline(always)]
pub(super) fn lanes<R: Register, const ROWS: usize, const VECTORS: usize>(
    tile: [[R; VECTORS]; ROWS],
) -> [[Lanes; VECTORS]; ROWS] {
    let mut numbers = [[[0.0; LANES]; VECTORS]; ROWS];
    for o in 0..ROWS {
        for v in 0..VECTORS {
            numbers[o][v] = tile[o][v].lanes();
        }
    }
    numbers
}

/// Adds one term's share of a tile: for each output the sum over inputs and kx of weight · row.
#[inline(always)]
pub(super) fn tile<R: Register, const K: usize, const ROWS: usize, const VECTORS: usize>(
    rows: &[f32],
    span: usize,
    x: usize,
    weights: &[f32],
    mut sum: [[R; VECTORS]; ROWS],
) -> [[R; VECTORS]; ROWS] {
    // Four rows at a time where a row is little work.
    let size = if K == 1 { 4 } else { 1 };
    let (rows, packed) = (rows.chunks_exact(size * span), weights.chunks_exact(size * K * ROWS));
    let (last_rows, last_packed) = (rows.remainder(), packed.remainder());
    for (rows, packed) in rows.zip(packed) {
        for k in 0..size {
            let row = &rows[k * span + x..][..VECTORS * LANES + K - 1];
            add_row::<R, K, ROWS, VECTORS>(row, &packed[k * K * ROWS..][..K * ROWS], &mut sum);
        }
    }
    for (row, packed) in last_rows.chunks_exact(span).zip(last_packed.chunks_exact(K * ROWS)) {
        add_row::<R, K, ROWS, VECTORS>(&row[x..x + VECTORS * LANES + K - 1], packed, &mut sum);
    }
    sum
}

#[inline(always)]
fn add_row<R: Register, const K: usize, const ROWS: usize, const VECTORS: usize>(
    row: &[f32],
    weights: &[f32],
    sum: &mut [[R; VECTORS]; ROWS],
) {
    for kx in 0..K {
        let mut pixels = [R::zero(); VECTORS];
        for v in 0..VECTORS {
            pixels[v] = R::load(&row[v * LANES + kx..]);
        }
        for o in 0..ROWS {
            for v in 0..VECTORS {
                sum[o][v] = pixels[v].scaled_plus(weights[kx * ROWS + o], sum[o][v]);
            }
        }
    }
}

/// Adds to `into`, `[row of a, row of b]`, the products of each row of `a` with each of `b`. All are of `length`,
/// a multiple of sixteen.
#[inline(always)]
pub(super) fn add_row_products<R: Register, const VECTORS: usize>(
    a: &[f32],
    b: &[f32],
    length: usize,
    into: &mut [f32],
) {
    if VECTORS == 2 {
        add_tiles::<R, 4, 6>(a, b, length, into);
    } else {
        add_tiles::<R, 2, 2>(a, b, length, into);
    }
}

#[inline(always)]
fn add_tiles<R: Register, const A: usize, const B: usize>(
    a: &[f32],
    b: &[f32],
    length: usize,
    into: &mut [f32],
) {
    let (rows, cols) = (a.len() / length, b.len() / length);
    let (a, b) = (interleaved::<A>(a, length), interleaved::<B>(b, length));
    // As many rows of a as stay in the cache while all of b pass by.
    for (block, a) in a.chunks(BLOCK * A * length).enumerate() {
        for (j, b) in b.chunks_exact(B * length).enumerate() {
            for (i, a) in a.chunks_exact(A * length).enumerate() {
                let sums = products::<R, A, B>(a, b);
                let first = (block * BLOCK + i) * A;
                for k in 0..A.min(rows - first) {
                    for l in 0..B.min(cols - j * B) {
                        into[(first + k) * cols + j * B + l] += sums[k][l];
                    }
                }
            }
        }
    }
}

/// Groups of rows that a product keeps near.
const BLOCK: usize = 16;

#[inline(always)]
fn products<R: Register, const A: usize, const B: usize>(a: &[f32], b: &[f32]) -> [[f32; B]; A] {
    let mut sums = [[R::zero(); B]; A];
    for (a, b) in a.chunks_exact(A * LANES).zip(b.chunks_exact(B * LANES)) {
        let mut right = [R::zero(); B];
        for l in 0..B {
            right[l] = R::load(&b[l * LANES..]);
        }
        for k in 0..A {
            let left = R::load(&a[k * LANES..]);
            for l in 0..B {
                sums[k][l] = left.times_plus(right[l], sums[k][l]);
            }
        }
    }
    let mut totals = [[0.0; B]; A];
    for k in 0..A {
        for l in 0..B {
            totals[k][l] = total(sums[k][l].lanes());
        }
    }
    totals
}

/// Rows of `length` as `[group of N rows, vector, row of the group]`, zeros beyond the last.
#[inline(always)]
fn interleaved<const N: usize>(rows: &[f32], length: usize) -> Aligned {
    let mut groups = Aligned::zeros((rows.len() / length).next_multiple_of(N) * length);
    for (k, row) in rows.chunks_exact(length).enumerate() {
        let group = &mut groups[k / N * N * length..][..N * length];
        for (into, vector) in group.chunks_exact_mut(N * LANES).zip(row.chunks_exact(LANES)) {
            into[k % N * LANES..][..LANES].copy_from_slice(vector);
        }
    }
    groups
}
