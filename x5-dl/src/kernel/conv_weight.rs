//! The gradient of a convolution's weight, on plain slices.
//!
//! For a 3 × 3 kernel it is the transpose of how [`conv`](super::conv) makes two rows from four sums: 4 products
//! where 6 are usual.

use super::conv::{Sizes, fill_terms};
use super::share::by_channel;
use super::simd::{self, Kernel, LANES, Register, dispatch};

/// The gradient of the weight, `[output, input, ky, kx]`, from the input and the gradient of the output.
pub(super) fn gradient(sizes: Sizes, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    if sizes.items > 1 {
        return gradient_all(sizes, input, gradient);
    }
    let plane = sizes.out_rows() * sizes.out_cols();
    by_channel(sizes.outputs, BLOCK, |from, to| {
        let sizes = Sizes { outputs: to - from, ..sizes };
        gradient_all(sizes, input, &gradient[from * plane..to * plane])
    })
}

/// Outputs of a block are a multiple of this: of the lanes of a group.
const BLOCK: usize = 2 * LANES;

fn gradient_all(sizes: Sizes, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    match sizes.kernel {
        1 => dispatch(Weight::<1> { sizes, input, gradient }),
        3 => dispatch(Weight::<3> { sizes, input, gradient }),
        _ => dispatch(Weight::<5> { sizes, input, gradient }),
    }
}

pub(super) struct Weight<'a, const K: usize> {
    pub(super) sizes: Sizes,
    pub(super) input: &'a [f32],
    pub(super) gradient: &'a [f32],
}

impl<const K: usize> Kernel for Weight<'_, K> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) -> Vec<f32> {
        let sums = match (K, VECTORS) {
            (1, 2) => self.sums::<R, 8, VECTORS>(),
            (3, 2) => self.sums::<R, 4, VECTORS>(),
            (_, 2) => self.sums::<R, 2, VECTORS>(),
            (1, _) => self.sums::<R, 4, VECTORS>(),
            (3, _) => self.sums::<R, 2, VECTORS>(),
            _ => self.sums::<R, 1, VECTORS>(),
        };
        let Weight { sizes, .. } = self;
        let wide = VECTORS * LANES;
        let inputs = sums.len() / (sizes.terms() * sizes.outputs.div_ceil(wide) * K * wide);
        let mut weight = vec![0.0; sizes.outputs * sizes.inputs * K * K];
        for o in 0..sizes.outputs {
            for c in 0..sizes.inputs {
                for kx in 0..K {
                    let sum = |t: usize| {
                        let group = t * sizes.outputs.div_ceil(wide) + o / wide;
                        sums[((group * inputs + c) * K + kx) * wide + o % wide]
                    };
                    let mut put = |ky: usize, value: f32| {
                        weight[((o * sizes.inputs + c) * K + ky) * K + kx] = value;
                    };
                    if K == 3 {
                        let (even, odd) = (0.5 * (sum(1) + sum(2)), 0.5 * (sum(1) - sum(2)));
                        put(0, sum(0) + even);
                        put(1, odd);
                        put(2, sum(3) + even);
                    } else {
                        (0..K).for_each(|ky| put(ky, sum(ky)));
                    }
                }
            }
        }
        weight
    }
}

impl<const K: usize> Weight<'_, K> {
    /// `[term, group of outputs, input, kx, output of the group]`, with the inputs up to a multiple of `TAKE`.
    #[inline(always)]
    fn sums<R: Register, const TAKE: usize, const VECTORS: usize>(&self) -> Vec<f32> {
        let Weight { sizes, input, gradient } = *self;
        let (rows, cols, span) = (sizes.out_rows(), sizes.out_cols(), sizes.span());
        let (terms, wide) = (sizes.terms(), VECTORS * LANES);
        let (groups, inputs) = (sizes.outputs.div_ceil(wide), sizes.inputs.next_multiple_of(TAKE));
        let mut sums = vec![0.0; terms * groups * inputs * K * wide];
        let mut images = vec![0.0; terms * sizes.inputs * span];
        let mut turned = vec![0.0; terms * groups * cols * wide];
        let items = input.chunks_exact(sizes.inputs * sizes.rows * sizes.cols);
        for (image, gradient) in items.zip(gradient.chunks_exact(sizes.outputs * rows * cols)) {
            for y in (0..rows).step_by(sizes.band()) {
                fill_terms::<K>(&sizes, image, y, &mut images);
                turn::<K, VECTORS>(&sizes, gradient, y, &mut turned);
                for t in 0..terms {
                    for g in 0..groups {
                        // Without a kernel of 3 each term has the same row of the gradient.
                        let from = if K == 3 { t } else { 0 };
                        let gradient = &turned[(from * groups + g) * cols * wide..][..cols * wide];
                        let sums = &mut sums[(t * groups + g) * inputs * K * wide..][..inputs * K * wide];
                        for (k, sums) in sums.chunks_exact_mut(TAKE * K * wide).enumerate() {
                            let rows: [&[f32]; TAKE] = std::array::from_fn(|i| {
                                let c = (k * TAKE + i).min(sizes.inputs - 1);
                                &images[(t * sizes.inputs + c) * span..][..cols + K - 1]
                            });
                            outer::<R, K, TAKE, VECTORS>(rows, gradient, sums);
                        }
                    }
                }
            }
        }
        sums
    }
}

/// The gradient's rows of a band as `[term, group of outputs, x, output of the group]`.
#[inline(always)]
fn turn<const K: usize, const VECTORS: usize>(sizes: &Sizes, gradient: &[f32], y: usize, turned: &mut [f32]) {
    let (rows, cols, wide) = (sizes.out_rows(), sizes.out_cols(), VECTORS * LANES);
    let term = sizes.outputs.div_ceil(wide) * cols * wide;
    for o in 0..sizes.outputs {
        let (group, lane) = (o / wide * cols * wide, o % wide);
        let first = &gradient[(o * rows + y) * cols..][..cols];
        if K == 3 {
            let second = if y + 1 < rows { &gradient[(o * rows + y + 1) * cols..][..cols] } else { &[] };
            for x in 0..cols {
                turned[group + x * wide + lane] = first[x];
                turned[3 * term + group + x * wide + lane] = -second.get(x).copied().unwrap_or(0.0);
            }
        } else {
            for x in 0..cols {
                turned[group + x * wide + lane] = first[x];
            }
        }
    }
    if K == 3 {
        let (first, rest) = turned.split_at_mut(term);
        let (sum, rest) = rest.split_at_mut(term);
        let (difference, minus) = rest.split_at_mut(term);
        for (((a, b), sum), difference) in first.iter().zip(&*minus).zip(sum).zip(difference) {
            *sum = a - b;
            *difference = a + b;
        }
    }
}

/// Adds to `sums`, `[input, kx, output]`, the sum over x of row · gradient.
#[inline(always)]
fn outer<R: Register, const K: usize, const TAKE: usize, const VECTORS: usize>(
    rows: [&[f32]; TAKE],
    gradient: &[f32],
    sums: &mut [f32],
) {
    let mut sum = [[[R::zero(); VECTORS]; K]; TAKE];
    for i in 0..TAKE {
        for kx in 0..K {
            for v in 0..VECTORS {
                sum[i][kx][v] = R::load(&sums[((i * K + kx) * VECTORS + v) * LANES..]);
            }
        }
    }
    for (x, gradient) in gradient.chunks_exact(VECTORS * LANES).enumerate() {
        let mut outputs = [R::zero(); VECTORS];
        for v in 0..VECTORS {
            outputs[v] = R::load(&gradient[v * LANES..]);
        }
        for i in 0..TAKE {
            let row = &rows[i][x..x + K];
            for kx in 0..K {
                for v in 0..VECTORS {
                    sum[i][kx][v] = outputs[v].scaled_plus(row[kx], sum[i][kx][v]);
                }
            }
        }
    }
    for i in 0..TAKE {
        for kx in 0..K {
            for v in 0..VECTORS {
                simd::store(&mut sums[((i * K + kx) * VECTORS + v) * LANES..], sum[i][kx][v].lanes());
            }
        }
    }
}
