//! A GRU over all steps of many pixels and its gradient, on plain slices.
//!
//! Pixels are the vectors' lanes: a matrix is `[feature, step, pixel]`. One step of a tile of hidden units and pixels
//! stays in registers from the products to the new state. In the backward pass only what leads to the step before
//! is computed step by step; the gradients of the weights are one product of long rows at the end.

use super::simd::{self, Aligned, Kernel, LANES, Lanes, Register, dispatch, load, store, sum};
use super::tile::{add_row_products, lanes, tile};

/// Sizes of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) steps: usize,
    pub(super) pixels: usize,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
}

impl Sizes {
    /// Length of a tile's row of all steps.
    fn long(&self) -> usize {
        self.steps * TILE
    }
}

/// Pixels that go through all steps together.
const TILE: usize = 2 * LANES;

/// Parameters as PyTorch has them, gates in the order r, z, n.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a> {
    /// `[3 * hidden, input]`
    pub(super) input: &'a [f32],
    /// `[3 * hidden, hidden]`
    pub(super) hidden: &'a [f32],
    /// `[3 * hidden]`
    pub(super) input_bias: &'a [f32],
    /// `[3 * hidden]`
    pub(super) hidden_bias: &'a [f32],
}

/// What the backward pass needs of the forward pass: [`BLOCKS`] blocks of rows for each tile of pixels.
pub(super) type Kept = Aligned;

/// States after each step, `[hidden, step, pixel]`, and, if `keep`, what [`gradient`] needs.
///
/// # Shapes
/// - `x`: `[input, step, pixel]`
/// - `state`: the state before the first step, `[hidden, pixel]`
pub(super) fn forward(
    sizes: Sizes,
    x: &[f32],
    state: &[f32],
    parameters: Parameters,
    keep: bool,
) -> (Vec<f32>, Kept) {
    dispatch(Forward { sizes, x, state, parameters, keep })
}

/// Gradients of x, the state before, and the four parameters in their order, from that of the states, `gradient`;
/// `kept` is what [`forward`] kept.
pub(super) fn gradient(
    sizes: Sizes,
    x: &[f32],
    state: &[f32],
    parameters: Parameters,
    states: &[f32],
    kept: Kept,
    gradient: &[f32],
) -> [Vec<f32>; 6] {
    dispatch(Backward { sizes, x, state, parameters, states, kept, gradient })
}

struct Forward<'a> {
    sizes: Sizes,
    x: &'a [f32],
    state: &'a [f32],
    parameters: Parameters<'a>,
    keep: bool,
}

/// Blocks of rows that are kept: U·h + b' of gate n, and gates r, z and n. The gradients of the four sums replace
/// them in this order, so that those that lead to h are neighbours, and those that lead to x.
const BLOCKS: usize = 4;

impl Kernel for Forward<'_> {
    type Output = (Vec<f32>, Kept);

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) -> (Vec<f32>, Kept) {
        let Forward { sizes, x, state, parameters, keep } = self;
        let Sizes { steps, pixels, inputs, hidden } = sizes;
        let (long, all) = (sizes.long(), inputs + hidden);
        let Parameters { input, hidden: recurrent, .. } = parameters;
        let whole = |k: usize, c: usize| match c.checked_sub(inputs) {
            None => input[k * inputs + c],
            Some(c) => recurrent[k * hidden + c],
        };
        let r = pack::<ROWS>(hidden, all, whole);
        let z = pack::<ROWS>(hidden, all, |k, c| whole(hidden + k, c));
        let from_x = pack::<ROWS>(hidden, inputs, |k, c| whole(2 * hidden + k, c));
        let from_h = pack::<ROWS>(hidden, hidden, |k, c| whole(2 * hidden + k, inputs + c));

        let mut kept = Aligned::zeros(if keep { pixels.div_ceil(TILE) * BLOCKS * hidden * long } else { 0 });
        let mut states = vec![0.0; hidden * steps * pixels];
        let mut now = Aligned::zeros(all * TILE);
        let mut next = vec![0.0; hidden * TILE];
        for first in (0..pixels).step_by(TILE) {
            let count = TILE.min(pixels - first);
            let kept = if keep {
                &mut kept[first / TILE * BLOCKS * hidden * long..][..BLOCKS * hidden * long]
            } else {
                &mut []
            };
            for k in 0..hidden {
                now[(inputs + k) * TILE..][..count].copy_from_slice(&state[k * pixels + first..][..count]);
            }
            for t in 0..steps {
                for c in 0..inputs {
                    now[c * TILE..][..count].copy_from_slice(&x[(c * steps + t) * pixels + first..][..count]);
                }
                for group in 0..hidden.div_ceil(ROWS) {
                    let weights = Group {
                        first: group * ROWS,
                        r: &r[group * all * ROWS..][..all * ROWS],
                        z: &z[group * all * ROWS..][..all * ROWS],
                        from_x: &from_x[group * inputs * ROWS..][..inputs * ROWS],
                        from_h: &from_h[group * hidden * ROWS..][..hidden * ROWS],
                    };
                    for at in (0..TILE).step_by(VECTORS * LANES) {
                        step::<R, ROWS, VECTORS>(sizes, (t, at), &now, weights, parameters, &mut next, kept);
                    }
                }
                now[inputs * TILE..].copy_from_slice(&next);
                for k in 0..hidden {
                    states[(k * steps + t) * pixels + first..][..count]
                        .copy_from_slice(&next[k * TILE..][..count]);
                }
            }
        }
        (states, kept)
    }
}

/// Weights of a group of hidden units, `[row, unit]`.
#[derive(Clone, Copy)]
struct Group<'a> {
    /// The first unit.
    first: usize,
    r: &'a [f32],
    z: &'a [f32],
    from_x: &'a [f32],
    from_h: &'a [f32],
}

/// One step of a tile: n = tanh(Wx + b + r·(Uh + b')), h' = n + z·(h - n).
#[inline(always)]
fn step<R: Register, const ROWS: usize, const VECTORS: usize>(
    sizes: Sizes,
    (t, at): (usize, usize),
    now: &[f32],
    weights: Group,
    parameters: Parameters,
    next: &mut [f32],
    kept: &mut [f32],
) {
    let Sizes { inputs, hidden, .. } = sizes;
    let (long, first) = (sizes.long(), weights.first);
    let zero = [[R::zero(); VECTORS]; ROWS];
    let r_sum = lanes(tile::<R, 1, ROWS, VECTORS>(now, TILE, at, weights.r, zero));
    let z_sum = lanes(tile::<R, 1, ROWS, VECTORS>(now, TILE, at, weights.z, zero));
    let x_sum = lanes(tile::<R, 1, ROWS, VECTORS>(&now[..inputs * TILE], TILE, at, weights.from_x, zero));
    let h_sum = lanes(tile::<R, 1, ROWS, VECTORS>(&now[inputs * TILE..], TILE, at, weights.from_h, zero));
    for o in 0..ROWS.min(hidden - first) {
        let k = first + o;
        let (input, own) = (parameters.input_bias, parameters.hidden_bias);
        let r_bias = input[k] + own[k];
        let z_bias = input[hidden + k] + own[hidden + k];
        let (x_bias, h_bias) = (input[2 * hidden + k], own[2 * hidden + k]);
        for v in 0..VECTORS {
            let place = at + v * LANES;
            let (r, z) = (simd::sigmoid(plus(r_sum[o][v], r_bias)), simd::sigmoid(plus(z_sum[o][v], z_bias)));
            let (mut n, q) = (plus(x_sum[o][v], x_bias), plus(h_sum[o][v], h_bias));
            let mut h = load(&now[(inputs + k) * TILE + place..]);
            for l in 0..LANES {
                n[l] = r[l].mul_add(q[l], n[l]);
            }
            n = simd::tanh(n);
            for l in 0..LANES {
                h[l] = z[l].mul_add(h[l] - n[l], n[l]);
            }
            store(&mut next[k * TILE + place..], h);
            if !kept.is_empty() {
                for (block, lanes) in [q, r, z, n].into_iter().enumerate() {
                    store(&mut kept[(block * hidden + k) * long + t * TILE + place..], lanes);
                }
            }
        }
    }
}

#[inline(always)]
fn plus(mut lanes: Lanes, value: f32) -> Lanes {
    for lane in &mut lanes {
        *lane += value;
    }
    lanes
}

/// Weights as `[group of outputs, input, output of the group]`, zero beyond the last output.
#[inline(always)]
fn pack<const ROWS: usize>(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; outputs.next_multiple_of(ROWS) * inputs];
    for o in 0..outputs {
        for c in 0..inputs {
            packed[((o / ROWS) * inputs + c) * ROWS + o % ROWS] = weight(o, c);
        }
    }
    packed
}

struct Backward<'a> {
    sizes: Sizes,
    x: &'a [f32],
    state: &'a [f32],
    parameters: Parameters<'a>,
    states: &'a [f32],
    kept: Kept,
    gradient: &'a [f32],
}

impl Kernel for Backward<'_> {
    type Output = [Vec<f32>; 6];

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) -> [Vec<f32>; 6] {
        let Sizes { steps, pixels, inputs, hidden } = self.sizes;
        let (long, all) = (self.sizes.long(), inputs + hidden);
        let Parameters { input, hidden: recurrent, .. } = self.parameters;
        // Rows n, r, z lead to h and rows r, z, n to x: see BLOCKS.
        let to_h = pack::<ROWS>(hidden, 3 * hidden, |k, row| {
            recurrent[((row + 2 * hidden) % (3 * hidden)) * hidden + k]
        });
        let to_x = pack::<ROWS>(inputs, 3 * hidden, |c, row| input[row * inputs + c]);

        let mut to_all =
            [self.x.len(), self.state.len(), input.len(), recurrent.len(), 3 * hidden, 3 * hidden]
                .map(|count| vec![0.0; count]);
        let [found_x, found_state, found_input, found_hidden, input_bias, hidden_bias] = &mut to_all;
        let mut kept = self.kept;
        let mut sums = Aligned::zeros(BLOCKS * hidden * TILE);
        let mut to = vec![0.0; inputs * TILE];
        // The inputs and the states before each step, in rows like those that are kept.
        let mut before = Aligned::zeros(all * long);
        for (tile, kept) in kept.chunks_exact_mut(BLOCKS * hidden * long).enumerate() {
            let first = tile * TILE;
            let count = TILE.min(pixels - first);
            for (c, row) in before.chunks_exact_mut(long).enumerate() {
                for (t, row) in row.chunks_exact_mut(TILE).enumerate() {
                    row[..count].copy_from_slice(match (c.checked_sub(inputs), t) {
                        (None, _) => &self.x[(c * steps + t) * pixels + first..][..count],
                        (Some(k), 0) => &self.state[k * pixels + first..][..count],
                        (Some(k), _) => &self.states[(k * steps + t - 1) * pixels + first..][..count],
                    });
                    row[count..].fill(0.0);
                }
            }
            let mut carried = vec![0.0; hidden * TILE];
            for t in (0..steps).rev() {
                for k in 0..hidden {
                    let gradient = &self.gradient[(k * steps + t) * pixels + first..][..count];
                    let carried = &mut carried[k * TILE..][..TILE];
                    for (carried, gradient) in carried.iter_mut().zip(gradient) {
                        *carried += gradient;
                    }
                    for p in (0..TILE).step_by(LANES) {
                        let mut lanes = [[0.0; LANES]; BLOCKS];
                        for (block, lanes) in lanes.iter_mut().enumerate() {
                            *lanes = load(&kept[(block * hidden + k) * long + t * TILE + p..]);
                        }
                        let h = load(&before[(inputs + k) * long + t * TILE + p..]);
                        let (changed, rest) = sums_gradient(lanes, load(&carried[p..]), h);
                        store(&mut carried[p..], rest);
                        for (block, lanes) in changed.into_iter().enumerate() {
                            store(&mut kept[(block * hidden + k) * long + t * TILE + p..], lanes);
                            store(&mut sums[(block * hidden + k) * TILE + p..], lanes);
                        }
                    }
                }
                add_products::<R, ROWS, VECTORS>(&sums[..3 * hidden * TILE], &to_h, hidden, &mut carried);
                to.fill(0.0);
                add_products::<R, ROWS, VECTORS>(&sums[hidden * TILE..], &to_x, inputs, &mut to);
                for c in 0..inputs {
                    found_x[(c * steps + t) * pixels + first..][..count]
                        .copy_from_slice(&to[c * TILE..][..count]);
                }
            }
            for k in 0..hidden {
                found_state[k * pixels + first..][..count].copy_from_slice(&carried[k * TILE..][..count]);
            }
            let (of_x, of_h) = before.split_at(inputs * long);
            add_row_products::<R, VECTORS>(&kept[hidden * long..], of_x, long, found_input);
            add_row_products::<R, VECTORS>(&kept[..3 * hidden * long], of_h, long, found_hidden);
            for (row, bias) in kept[hidden * long..].chunks_exact(long).zip(&mut *input_bias) {
                *bias += sum(row);
            }
            for (row, bias) in kept.chunks_exact(long).zip(&mut *hidden_bias) {
                *bias += sum(row);
            }
        }
        // Rows n, r, z as r, z, n.
        found_hidden.rotate_left(hidden * hidden);
        hidden_bias.rotate_left(hidden);
        to_all
    }
}

/// Gradients of the four sums (see [`BLOCKS`]) from what was kept, the gradient of h' and the state before; and what
/// of the latter leads past the sums to h.
#[inline(always)]
fn sums_gradient([q, r, z, n]: [Lanes; BLOCKS], dh: Lanes, h: Lanes) -> ([Lanes; BLOCKS], Lanes) {
    let (mut dq, mut dr, mut dz, mut dn, mut rest) = (q, r, z, n, dh);
    for l in 0..LANES {
        dn[l] = dh[l] * (1.0 - z[l]) * (1.0 - n[l] * n[l]);
        dq[l] = dn[l] * r[l];
        dr[l] = dn[l] * q[l] * (r[l] * (1.0 - r[l]));
        dz[l] = dh[l] * (h[l] - n[l]) * (z[l] * (1.0 - z[l]));
        rest[l] = dh[l] * z[l];
    }
    ([dq, dr, dz, dn], rest)
}

/// Adds to the `outputs` rows of `into` the products of packed weights and rows, all rows as long as a tile.
#[inline(always)]
fn add_products<R: Register, const ROWS: usize, const VECTORS: usize>(
    rows: &[f32],
    packed: &[f32],
    outputs: usize,
    into: &mut [f32],
) {
    for (group, weights) in packed.chunks_exact(rows.len() / TILE * ROWS).enumerate() {
        for at in (0..TILE).step_by(VECTORS * LANES) {
            let zero = [[R::zero(); VECTORS]; ROWS];
            let sum = lanes(tile::<R, 1, ROWS, VECTORS>(rows, TILE, at, weights, zero));
            for o in 0..ROWS.min(outputs - group * ROWS) {
                for v in 0..VECTORS {
                    let into = &mut into[(group * ROWS + o) * TILE + at + v * LANES..][..LANES];
                    for l in 0..LANES {
                        into[l] += sum[o][v][l];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::testing;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let sizes = Sizes { steps: 3, pixels: 37, inputs: 5, hidden: 9 };
        let numbers = |count: usize, seed: u64| testing::numbers(&[count], seed).into_raw_vec_and_offset().0;
        let (x, state, gradient) = (numbers(5 * 3 * 37, 1), numbers(9 * 37, 2), numbers(9 * 3 * 37, 3));
        let (input, hidden, biases) = (numbers(27 * 5, 4), numbers(27 * 9, 5), numbers(54, 6));
        let (input_bias, hidden_bias) = biases.split_at(27);
        let parameters = Parameters { input: &input, hidden: &hidden, input_bias, hidden_bias };
        let forward = || Forward { sizes, x: &x, state: &state, parameters, keep: true };
        let ((states, kept), plain) = (dispatch(forward()), forward().run::<Lanes, 4, 1>());
        assert_eq!((&states, &kept[..]), (&plain.0, &plain.1[..]));
        let backward = || Backward {
            sizes,
            x: &x,
            state: &state,
            parameters,
            states: &states,
            kept: kept.clone(),
            gradient: &gradient,
        };
        assert_eq!(dispatch(backward()), backward().run::<Lanes, 4, 1>());
    }
}
