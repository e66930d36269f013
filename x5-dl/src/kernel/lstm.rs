//! The pointwise part of LSTM cells and its gradient, on plain slices.

use super::simd::{self, Kernel, LANES, Register, dispatch, load_some, store_some};

/// Turns the sums that gates i, f, o, g are made of into the gates, and steps the cell state: c' = f·c + i·g and
/// h' = o·tanh c'.
///
/// `gates` is four blocks as long as `cell`: i, f and o become sigmoids of themselves, g its tanh. `states` is two
/// such blocks: h' and c'.
pub(super) fn step(gates: &mut [f32], cell: &[f32], states: &mut [f32]) {
    dispatch(Step { gates, cell, states });
}

/// Gradients of the four sums and of the cell state before, from those of h' and c'.
///
/// # Shapes
/// - `gates`: as [`step`] left them
/// - `cell`: the state before; `states`: h' and c'; `gradient`: of h' and c'
/// - `sums`, `before`: where the gradients go, four blocks and one
pub(super) fn gradient(
    gates: &[f32],
    cell: &[f32],
    states: &[f32],
    gradient: &[f32],
    sums: &mut [f32],
    before: &mut [f32],
) {
    dispatch(Gradient { gates, cell, states, gradient, sums, before });
}

struct Step<'a> {
    gates: &'a mut [f32],
    cell: &'a [f32],
    states: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) {
        let Step { gates, cell, states } = self;
        let n = cell.len();
        let (i, rest) = gates.split_at_mut(n);
        let (f, rest) = rest.split_at_mut(n);
        let (o, g) = rest.split_at_mut(n);
        let (h, c) = states.split_at_mut(n);
        for k in (0..n).step_by(LANES) {
            let input = simd::sigmoid(load_some(&i[k..]));
            let forget = simd::sigmoid(load_some(&f[k..]));
            let output = simd::sigmoid(load_some(&o[k..]));
            let new = simd::tanh(load_some(&g[k..]));
            let old = load_some(&cell[k..]);
            let mut state = [0.0; LANES];
            for l in 0..LANES {
                state[l] = forget[l].mul_add(old[l], input[l] * new[l]);
            }
            let mut hidden = simd::tanh(state);
            for l in 0..LANES {
                hidden[l] *= output[l];
            }
            for (into, lanes) in [
                (&mut *i, input),
                (&mut *f, forget),
                (&mut *o, output),
                (&mut *g, new),
                (&mut *c, state),
                (&mut *h, hidden),
            ] {
                store_some(&mut into[k..], lanes);
            }
        }
    }
}

struct Gradient<'a> {
    gates: &'a [f32],
    cell: &'a [f32],
    states: &'a [f32],
    gradient: &'a [f32],
    sums: &'a mut [f32],
    before: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) {
        let Gradient { gates, cell, states, gradient, sums, before } = self;
        let n = cell.len();
        for k in (0..n).step_by(LANES) {
            let [i, f, o, g] = [0, 1, 2, 3].map(|block| load_some(&gates[block * n + k..(block + 1) * n]));
            let [dh, mut dc] = [0, 1].map(|block| load_some(&gradient[block * n + k..(block + 1) * n]));
            let old = load_some(&cell[k..]);
            let bent = simd::tanh(load_some(&states[n + k..]));
            let (mut di, mut df, mut d_o, mut dg) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for l in 0..LANES {
                dc[l] = (dh[l] * o[l]).mul_add(1.0 - bent[l] * bent[l], dc[l]);
                di[l] = dc[l] * g[l] * (i[l] * (1.0 - i[l]));
                df[l] = dc[l] * old[l] * (f[l] * (1.0 - f[l]));
                d_o[l] = dh[l] * bent[l] * (o[l] * (1.0 - o[l]));
                dg[l] = dc[l] * i[l] * (1.0 - g[l] * g[l]);
                dc[l] *= f[l];
            }
            for (block, lanes) in [di, df, d_o, dg].into_iter().enumerate() {
                store_some(&mut sums[block * n + k..(block + 1) * n], lanes);
            }
            store_some(&mut before[k..], dc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Lanes;
    use super::*;
    use crate::harness::testing;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let numbers = |count: usize, seed: u64| testing::numbers(&[count], seed).into_raw_vec_and_offset().0;
        let (cell, upper) = (numbers(37, 1), numbers(74, 2));
        let run = |wide: bool| {
            let (mut gates, mut states) = (numbers(148, 3), vec![0.0; 74]);
            let (mut sums, mut before) = (vec![0.0; 148], vec![0.0; 37]);
            let kernel = Step { gates: &mut gates, cell: &cell, states: &mut states };
            if wide {
                dispatch(kernel);
            } else {
                kernel.run::<Lanes, 4, 1>();
            }
            let kernel = Gradient {
                gates: &gates,
                cell: &cell,
                states: &states,
                gradient: &upper,
                sums: &mut sums,
                before: &mut before,
            };
            if wide {
                dispatch(kernel);
            } else {
                kernel.run::<Lanes, 4, 1>();
            }
            (states, sums, before)
        };
        assert_eq!(run(true), run(false));
    }
}
