//! Convolutions with square kernels and their gradients, on plain slices.
//!
//! Channels are planes, and a row of pixels is a row of vectors. A 3 × 3 kernel makes two rows at once from four
//! sums and differences of the four input rows below them, and so needs 4 products where 6 are usual: F(2, 3) of
//! Winograd (1980) along y, Lavin & Gray (2016), <https://doi.org/10.1109/CVPR.2016.435>. Other kernels are summed
//! row by row.

use super::share::by_channel;
use super::simd::{self, Kernel, LANES, Lanes, Register, dispatch};
use super::tile::{lanes, tile};

/// Sizes of a convolution with stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) items: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Side of the kernel: 1, 3 or 5.
    pub(super) kernel: usize,
    /// Rows and columns of the input.
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Zeros beyond each edge, fewer than the kernel has rows.
    pub(super) padding: usize,
}

impl Sizes {
    /// Rows of the output.
    pub(super) fn out_rows(&self) -> usize {
        self.rows + 2 * self.padding + 1 - self.kernel
    }

    /// Columns of the output.
    pub(super) fn out_cols(&self) -> usize {
        self.cols + 2 * self.padding + 1 - self.kernel
    }

    /// The convolution that leads the output's gradient back to the input.
    fn transposed(&self) -> Sizes {
        Sizes {
            inputs: self.outputs,
            outputs: self.inputs,
            rows: self.out_rows(),
            cols: self.out_cols(),
            padding: self.kernel - 1 - self.padding,
            ..*self
        }
    }

    /// Length of a row with its padding, up to whole vectors of output.
    pub(super) fn span(&self) -> usize {
        self.out_cols().next_multiple_of(LANES) + self.kernel - 1
    }

    /// Rows of the output that are made at once.
    pub(super) fn band(&self) -> usize {
        if self.kernel == 3 { 2 } else { 1 }
    }

    /// Sums of rows that they are made from.
    pub(super) fn terms(&self) -> usize {
        if self.kernel == 3 { 4 } else { self.kernel }
    }
}

/// The output `[item, output, y, x]` for `input` `[item, input, y, x]` and `weight` `[output, input, ky, kx]`.
pub(super) fn forward(sizes: Sizes, input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let of = |o: usize, c: usize, k: usize| weight[(o * sizes.inputs + c) * sizes.kernel * sizes.kernel + k];
    convolve(sizes, input, of, bias)
}

/// The gradient of the input, from that of the output.
pub(super) fn input_gradient(sizes: Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let all = sizes.kernel * sizes.kernel;
    let of = |c: usize, o: usize, k: usize| weight[(o * sizes.inputs + c) * all + all - 1 - k];
    convolve(sizes.transposed(), gradient, of, &vec![0.0; sizes.inputs])
}

/// The gradient of the bias, from that of the output.
pub(super) fn bias_gradient(sizes: Sizes, gradient: &[f32]) -> Vec<f32> {
    let mut bias = vec![0.0; sizes.outputs];
    for item in gradient.chunks_exact(sizes.outputs * sizes.out_rows() * sizes.out_cols()) {
        for (bias, plane) in bias.iter_mut().zip(item.chunks_exact(sizes.out_rows() * sizes.out_cols())) {
            *bias += simd::sum(plane);
        }
    }
    bias
}

fn convolve(
    sizes: Sizes,
    input: &[f32],
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    bias: &[f32],
) -> Vec<f32> {
    if sizes.items > 1 {
        return convolve_all(sizes, input, weight, bias);
    }
    by_channel(sizes.outputs, BLOCK, |from, to| {
        let sizes = Sizes { outputs: to - from, ..sizes };
        convolve_all(sizes, input, |o, c, k| weight(from + o, c, k), &bias[from..to])
    })
}

/// Outputs of a block are a multiple of this: of the rows of a tile.
const BLOCK: usize = 8;

fn convolve_all(
    sizes: Sizes,
    input: &[f32],
    weight: impl Fn(usize, usize, usize) -> f32,
    bias: &[f32],
) -> Vec<f32> {
    match sizes.kernel {
        1 => dispatch(Forward::<1, _> { sizes, input, weight, bias }),
        3 => dispatch(Forward::<3, _> { sizes, input, weight, bias }),
        _ => dispatch(Forward::<5, _> { sizes, input, weight, bias }),
    }
}

struct Forward<'a, const K: usize, W> {
    sizes: Sizes,
    input: &'a [f32],
    /// Of an output, an input and a place in the kernel.
    weight: W,
    bias: &'a [f32],
}

impl<const K: usize, W: Fn(usize, usize, usize) -> f32> Kernel for Forward<'_, K, W> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) -> Vec<f32> {
        let Forward { sizes, input, weight, bias } = self;
        let (rows, cols, span) = (sizes.out_rows(), sizes.out_cols(), sizes.span());
        let packed = pack::<K, ROWS>(&sizes, weight);
        let mut terms = vec![0.0; sizes.terms() * sizes.inputs * span];
        let mut out = vec![0.0; sizes.items * sizes.outputs * rows * cols];
        let images = input.chunks_exact(sizes.inputs * sizes.rows * sizes.cols);
        for (image, out) in images.zip(out.chunks_exact_mut(sizes.outputs * rows * cols)) {
            for y in (0..rows).step_by(sizes.band()) {
                fill_terms::<K>(&sizes, image, y, &mut terms);
                for (g, weights) in packed.chunks_exact(sizes.terms() * sizes.inputs * K * ROWS).enumerate() {
                    let mut x = 0;
                    while x < cols {
                        let left = cols - x;
                        let at = Place { first: g * ROWS, y, x, rows, cols };
                        if left > LANES {
                            band::<R, K, ROWS, VECTORS>(&terms, span, weights, bias, at, out);
                            x += VECTORS * LANES;
                        } else {
                            band::<R, K, ROWS, 1>(&terms, span, weights, bias, at, out);
                            x += LANES;
                        }
                    }
                }
            }
        }
        out
    }
}

/// The tile of the output that is made: outputs from `first`, and pixels from `(y, x)`, of `rows` × `cols`.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    y: usize,
    x: usize,
    rows: usize,
    cols: usize,
}

/// Weights as `[group of outputs, term, input, kx, output of the group]`, zero beyond the last output.
#[inline(always)]
fn pack<const K: usize, const ROWS: usize>(
    sizes: &Sizes,
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let (groups, terms, inputs) = (sizes.outputs.div_ceil(ROWS), sizes.terms(), sizes.inputs);
    let mut packed = vec![0.0; groups * terms * inputs * K * ROWS];
    for o in 0..sizes.outputs {
        for c in 0..inputs {
            for kx in 0..K {
                let row = |ky: usize| weight(o, c, ky * K + kx);
                let mut put = |term: usize, value: f32| {
                    packed[((((o / ROWS) * terms + term) * inputs + c) * K + kx) * ROWS + o % ROWS] = value;
                };
                if K == 3 {
                    put(0, row(0));
                    put(1, 0.5 * (row(0) + row(1) + row(2)));
                    put(2, 0.5 * (row(0) - row(1) + row(2)));
                    put(3, row(2));
                } else {
                    (0..K).for_each(|ky| put(ky, row(ky)));
                }
            }
        }
    }
    packed
}

/// The sums of input rows `[term, input, span]` that the output rows from `y` are made from. The margins of
/// `terms` are zero and stay so.
#[inline(always)]
pub(super) fn fill_terms<const K: usize>(sizes: &Sizes, image: &[f32], y: usize, terms: &mut [f32]) {
    let (span, cols, margin) = (sizes.span(), sizes.cols, sizes.padding);
    let nothing = vec![0.0; cols];
    let empty = &nothing[..];
    for c in 0..sizes.inputs {
        let mut rows = [empty; 5];
        for (k, row) in rows.iter_mut().enumerate() {
            if let Some(from) = (y + k).checked_sub(margin).filter(|&from| from < sizes.rows) {
                *row = &image[(c * sizes.rows + from) * cols..][..cols];
            }
        }
        if K == 3 {
            for (term, (a, b, sign)) in
                [(0, 2, -1.0), (1, 2, 1.0), (2, 1, -1.0), (1, 3, -1.0)].into_iter().enumerate()
            {
                let into = &mut terms[(term * sizes.inputs + c) * span + margin..][..cols];
                for ((into, a), b) in into.iter_mut().zip(rows[a]).zip(rows[b]) {
                    *into = a + sign * b;
                }
            }
        } else {
            for (k, row) in rows.iter().enumerate().take(K) {
                terms[(k * sizes.inputs + c) * span + margin..][..cols].copy_from_slice(row);
            }
        }
    }
}

/// One tile of the rows of a band.
#[inline(always)]
fn band<R: Register, const K: usize, const ROWS: usize, const VECTORS: usize>(
    terms: &[f32],
    span: usize,
    weights: &[f32],
    bias: &[f32],
    at: Place,
    out: &mut [f32],
) {
    let zero = [[R::zero(); VECTORS]; ROWS];
    if K == 3 {
        let (image, packed) = (terms.len() / 4, weights.len() / 4);
        let mut sums = [[[[0.0; LANES]; VECTORS]; ROWS]; 4];
        for (t, sum) in sums.iter_mut().enumerate() {
            let (image, packed) = (&terms[t * image..][..image], &weights[t * packed..][..packed]);
            *sum = lanes(tile::<R, K, ROWS, VECTORS>(image, span, at.x, packed, zero));
        }
        let [a, b, c, d] = &sums;
        let mut rows = [[[[0.0; LANES]; VECTORS]; ROWS]; 2];
        for o in 0..ROWS {
            for v in 0..VECTORS {
                for l in 0..LANES {
                    let (b, c) = (b[o][v][l], c[o][v][l]);
                    rows[0][o][v][l] = a[o][v][l] + (b + c);
                    rows[1][o][v][l] = (b - c) - d[o][v][l];
                }
            }
        }
        store(&rows[0], bias, at, out);
        if at.y + 1 < at.rows {
            store(&rows[1], bias, Place { y: at.y + 1, ..at }, out);
        }
    } else {
        let (image, packed) = (terms.len() / K, weights.len() / K);
        let mut sum = zero;
        for t in 0..K {
            let (image, packed) = (&terms[t * image..][..image], &weights[t * packed..][..packed]);
            sum = tile::<R, K, ROWS, VECTORS>(image, span, at.x, packed, sum);
        }
        store(&lanes(sum), bias, at, out);
    }
}

#[inline(always)]
fn store<const ROWS: usize, const VECTORS: usize>(
    tile: &[[Lanes; VECTORS]; ROWS],
    bias: &[f32],
    at: Place,
    out: &mut [f32],
) {
    let count = (at.cols - at.x).min(VECTORS * LANES);
    for (o, tile) in tile.iter().enumerate().take(bias.len() - at.first) {
        let bias = bias[at.first + o];
        let row = &mut out[((at.first + o) * at.rows + at.y) * at.cols + at.x..][..count];
        if count == VECTORS * LANES {
            for (row, lanes) in row.chunks_exact_mut(LANES).zip(tile) {
                for l in 0..LANES {
                    row[l] = lanes[l] + bias;
                }
            }
        } else {
            for (row, value) in row.iter_mut().zip(tile.as_flattened()) {
                *row = value + bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv_weight::{self, Weight};
    use super::super::share::with_threads;
    use super::*;
    use crate::harness::testing;

    /// Output, and the gradients of input and weight, one product at a time.
    fn plainly(s: Sizes, x: &[f32], w: &[f32], bias: &[f32], gradient: &[f32]) -> [Vec<f64>; 3] {
        let (rows, cols, k) = (s.out_rows(), s.out_cols(), s.kernel);
        let mut out: Vec<f64> = vec![0.0; gradient.len()];
        let (mut to_x, mut to_w) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        for at in 0..out.len() {
            let (col, row, o) = (at % cols, at / cols % rows, at / (cols * rows) % s.outputs);
            let item = at / (cols * rows * s.outputs);
            out[at] = f64::from(bias[o]);
            for of in 0..s.inputs * k * k {
                let (y, x_) = (row + of / k % k, col + of % k);
                let inside = |place: usize, size: usize| place >= s.padding && place < size + s.padding;
                if inside(y, s.rows) && inside(x_, s.cols) {
                    let channel = item * s.inputs + of / (k * k);
                    let from = (channel * s.rows + y - s.padding) * s.cols + x_ - s.padding;
                    let weight = o * s.inputs * k * k + of;
                    out[at] += f64::from(x[from]) * f64::from(w[weight]);
                    to_x[from] += f64::from(gradient[at]) * f64::from(w[weight]);
                    to_w[weight] += f64::from(gradient[at]) * f64::from(x[from]);
                }
            }
        }
        [out, to_x, to_w]
    }

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        testing::numbers(&[count], seed).into_raw_vec_and_offset().0
    }

    #[test]
    fn any_size_is_what_single_products_add_up_to() {
        for (kernel, padding) in [(1, 0), (3, 1), (3, 0), (3, 2), (5, 2), (5, 0)] {
            for (items, inputs, outputs, rows, cols) in
                [(1, 3, 4, 8, 8), (3, 1, 17, 7, 9), (2, 5, 33, 6, 37), (1, 10, 8, 5, 48), (1, 2, 1, 5, 5)]
            {
                let sizes = Sizes { items, inputs, outputs, kernel, rows, cols, padding };
                let x = numbers(items * inputs * rows * cols, 1);
                let w = numbers(outputs * inputs * kernel * kernel, 2);
                let bias = numbers(outputs, 3);
                let gradient = numbers(items * outputs * sizes.out_rows() * sizes.out_cols(), 4);
                let expected = plainly(sizes, &x, &w, &bias, &gradient);
                let found = [
                    forward(sizes, &x, &w, &bias),
                    input_gradient(sizes, &gradient, &w),
                    conv_weight::gradient(sizes, &x, &gradient),
                ];
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found.len(), expected.len());
                    let largest = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((f64::from(*found) - expected).abs() < 2e-6 * largest, "{sizes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let sizes = Sizes { items: 1, inputs: 3, outputs: 9, kernel: 3, rows: 7, cols: 41, padding: 1 };
        let (x, w, bias, gradient) =
            (numbers(3 * 7 * 41, 1), numbers(9 * 27, 2), numbers(9, 3), numbers(9 * 7 * 41, 4));
        let forward =
            || Forward::<3, _> { sizes, input: &x, weight: |o, c, k| w[(o * 3 + c) * 9 + k], bias: &bias };
        assert_eq!(dispatch(forward()), forward().run::<Lanes, 4, 1>());
        let weight = || Weight::<3> { sizes, input: &x, gradient: &gradient };
        assert_eq!(dispatch(weight()), weight().run::<Lanes, 4, 1>());
    }

    #[test]
    fn threads_that_share_a_convolution_give_the_same_bits() {
        for (kernel, outputs) in [(3, 70), (5, 33), (1, 40), (3, 5)] {
            let (rows, cols) = (6, 19);
            let sizes = Sizes { items: 1, inputs: 37, outputs, kernel, rows, cols, padding: kernel / 2 };
            let (x, w) = (numbers(37 * rows * cols, 1), numbers(outputs * 37 * kernel * kernel, 2));
            let (bias, gradient) = (numbers(outputs, 3), numbers(outputs * rows * cols, 4));
            let all = || {
                [
                    forward(sizes, &x, &w, &bias),
                    input_gradient(sizes, &gradient, &w),
                    conv_weight::gradient(sizes, &x, &gradient),
                ]
            };
            let alone = all();
            assert_eq!(with_threads(2, all), alone);
            assert_eq!(with_threads(3, all), alone);
        }
    }

    #[test]
    fn a_number_that_is_none_stays_so() {
        let sizes = Sizes { items: 1, inputs: 1, outputs: 1, kernel: 3, rows: 8, cols: 8, padding: 1 };
        let mut x = numbers(64, 1);
        x[27] = f32::NAN;
        let out = forward(sizes, &x, &numbers(9, 2), &[0.0]);
        // Row 3, column 3 and its neighbours; nothing far from them.
        assert!([18, 19, 20, 26, 27, 28, 34, 35, 36].iter().all(|&k| out[k].is_nan()));
        assert!(out[63].is_finite() && out[0].is_finite());
        assert!(conv_weight::gradient(sizes, &x, &numbers(64, 3)).iter().all(|v| v.is_nan()));
    }
}
