//! The operations that the recurrent networks spend their time in, by hand, for the CPU.
//!
//! burn's CPU backend runs every elementwise operation on its own over freshly allocated memory, takes tanh and exp
//! of one number at a time, and computes a weight's gradient as a convolution with a kernel of the image's size: a
//! training step of the ConvLSTM took three times PyTorch's. What stands here is an operation of burn like its own,
//! with a gradient of its own, so networks are written as before and every loss and optimiser works. On other
//! backends, and for sizes that no kernel is made for, burn's operations compute the same.
//!
//! A kernel runs on the thread that calls it, a convolution of one item on some more where they would have nothing to do, in
//! one order: the bits do not depend on the number of threads.

#![allow(
    clippy::needless_range_loop,
    reason = "an index is the lane, the row or the term of several arrays at once"
)]

mod conv;
mod conv_weight;
mod gru;
mod lstm;
mod ops;
mod share;
mod simd;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use burn::backend::Dispatch;
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor};

use crate::harness::backend;
use crate::kernel::ops::Kernels;
pub(crate) use crate::kernel::share::with_threads;

/// A convolution with stride 1: the output `[item, output, y, x]` of an input `[item, input, y, x]` and a weight
/// `[output, input, ky, kx]`, with `padding` zeros beyond each edge.
pub(crate) fn convolve(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    padding: usize,
) -> Tensor<4> {
    let [outputs, _, height, width] = weight.dims();
    let made = [1, 3, 5].contains(&height) && height == width && padding < height;
    let large = input.dims()[2..].iter().all(|size| size + 2 * padding >= height);
    if !(made && large && by_hand(&input)) {
        let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
        return conv2d(input, weight, bias, options);
    }
    let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], &input.device()));
    Tensor::from_dispatch(<Dispatch as Kernels>::convolution(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        padding,
    ))
}

/// One step of LSTM cells: the hidden and the cell state `[item, hidden, y, x]` after it.
///
/// # Shapes
/// - `gates`: `[item, 4 * hidden, y, x]`, the sums that gates i, f, o and g are made of
/// - `cell`: the cell state before, `[item, hidden, y, x]`
pub(crate) fn lstm(gates: Tensor<4>, cell: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let n = cell.dims()[1];
    if by_hand(&gates) {
        let states = <Dispatch as Kernels>::lstm(gates.into_dispatch(), cell.into_dispatch());
        let states: Tensor<4> = Tensor::from_dispatch(states);
        return (states.clone().narrow(1, 0, n), states.narrow(1, n, n));
    }
    lstm_of_burn(gates, cell)
}

fn lstm_of_burn(gates: Tensor<4>, cell: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let n = cell.dims()[1];
    let open = sigmoid(gates.clone().narrow(1, 0, 3 * n));
    let (i, f, o) = (open.clone().narrow(1, 0, n), open.clone().narrow(1, n, n), open.narrow(1, 2 * n, n));
    let cell = f * cell + i * tanh(gates.narrow(1, 3 * n, n));
    (o * tanh(cell.clone()), cell)
}

/// Parameters of a GRU as PyTorch has them, gates in the order r, z, n.
pub(crate) struct GruParameters {
    /// `[3 * hidden, input]`
    pub(crate) input: Tensor<2>,
    /// `[3 * hidden, hidden]`
    pub(crate) hidden: Tensor<2>,
    /// `[3 * hidden]`
    pub(crate) input_bias: Tensor<1>,
    /// `[3 * hidden]`
    pub(crate) hidden_bias: Tensor<1>,
}

/// The states of a GRU after each of `steps` steps, `[hidden, step * pixel]`.
///
/// In PyTorch's convention n = tanh(Wx + b + r·(Uh + b')) and h' = (1 - z)·n + z·h.
///
/// # Shapes
/// - `x`: `[input, step * pixel]`, the pixels of a step side by side
/// - `state`: the state before the first step, `[hidden, pixel]`
pub(crate) fn gru(x: Tensor<2>, state: Tensor<2>, parameters: GruParameters, steps: usize) -> Tensor<2> {
    let GruParameters { input, hidden, input_bias, hidden_bias } = parameters;
    if by_hand(&x) {
        return Tensor::from_dispatch(<Dispatch as Kernels>::gru(
            x.into_dispatch(),
            state.into_dispatch(),
            input.into_dispatch(),
            hidden.into_dispatch(),
            input_bias.into_dispatch(),
            hidden_bias.into_dispatch(),
            steps,
        ));
    }
    gru_of_burn(x, state, GruParameters { input, hidden, input_bias, hidden_bias }, steps)
}

fn gru_of_burn(x: Tensor<2>, mut state: Tensor<2>, parameters: GruParameters, steps: usize) -> Tensor<2> {
    let [n, pixels] = state.dims();
    // The input's share of all gates, for all steps, in one product.
    let from_input = parameters.input.matmul(x) + parameters.input_bias.unsqueeze_dim(1);
    let bias: Tensor<2> = parameters.hidden_bias.unsqueeze_dim(1);
    let mut states = Vec::with_capacity(steps);
    for t in 0..steps {
        let x = from_input.clone().narrow(1, t * pixels, pixels);
        let h = parameters.hidden.clone().matmul(state.clone()) + bias.clone();
        let gates = sigmoid(x.clone().narrow(0, 0, 2 * n) + h.clone().narrow(0, 0, 2 * n));
        let (r, z) = (gates.clone().narrow(0, 0, n), gates.narrow(0, n, n));
        let new = tanh(x.narrow(0, 2 * n, n) + r * h.narrow(0, 2 * n, n));
        // (1 - z)·n + z·h, with one multiplication less.
        state = new.clone() + z * (state - new);
        states.push(state.clone());
    }
    Tensor::cat(states, 1)
}

fn by_hand<const D: usize>(input: &Tensor<D>) -> bool {
    backend::IS_CPU && input.dtype() == DType::F32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::testing::{close_relative, numbers};
    use crate::harness::weights::{from_array, to_array};
    use ndarray::ArrayD;

    /// A result and the gradients of its weighted sum with respect to what it was computed from.
    fn with_gradients<const D: usize>(result: Tensor<D>, inputs: &[Tensor<4>]) -> Vec<ArrayD<f32>> {
        let factor = from_array(&numbers(&result.dims(), 9), &result.device());
        let gradients = (result.clone() * factor).sum().backward();
        let of = |input: &Tensor<4>| to_array(input.grad(&gradients).unwrap());
        [to_array(result)].into_iter().chain(inputs.iter().map(of)).collect()
    }

    fn tracked(shape: &[usize], seed: u64) -> Tensor<4> {
        from_array(&numbers(shape, seed), &backend::training_device()).require_grad()
    }

    #[test]
    fn a_convolution_and_its_gradients_are_burns() {
        for (items, rows, cols, kernel, padding) in
            [(1, 7, 9, 3, 1), (3, 5, 18, 5, 2), (2, 6, 6, 1, 0), (1, 8, 6, 5, 0)]
        {
            let (x, w) = (tracked(&[items, 3, rows, cols], 1), tracked(&[5, 3, kernel, kernel], 2));
            let b = tracked(&[5, 1, 1, 1], 3);
            let bias = || Some(b.clone().reshape([5]));
            let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
            let inputs = [x.clone(), w.clone(), b.clone()];
            let burns = with_gradients(conv2d(x.clone(), w.clone(), bias(), options), &inputs);
            let ours = with_gradients(convolve(x, w, bias(), padding), &inputs);
            assert_eq!(ours.len(), 4);
            for (ours, burns) in ours.iter().zip(&burns) {
                close_relative(ours, burns, 2e-6);
            }
        }
    }

    #[test]
    fn a_part_of_a_tensor_is_convolved_like_a_copy_of_it() {
        let whole = tracked(&[2, 6, 5, 7], 1);
        let w = tracked(&[4, 3, 3, 3], 2);
        let part = whole.clone().narrow(1, 2, 3);
        let copy: Tensor<4> = from_array(&to_array(part.clone()), &whole.device());
        assert_eq!(to_array(convolve(part, w.clone(), None, 1)), to_array(convolve(copy, w, None, 1)));
    }

    #[test]
    fn a_step_of_cells_and_its_gradients_are_burns() {
        for (items, hidden, rows, cols) in [(1, 1, 3, 5), (3, 4, 7, 9), (2, 3, 8, 16)] {
            let gates = tracked(&[items, 4 * hidden, rows, cols], 1).mul_scalar(3.0);
            let gates = from_array::<4>(&to_array(gates), &backend::training_device()).require_grad();
            let cell = tracked(&[items, hidden, rows, cols], 2);
            let inputs = [gates.clone(), cell.clone()];
            let joined = |(h, c): (Tensor<4>, Tensor<4>)| Tensor::cat(vec![h, c], 1);
            let burns = with_gradients(joined(lstm_of_burn(gates.clone(), cell.clone())), &inputs);
            let ours = with_gradients(joined(lstm(gates.clone(), cell)), &inputs);
            for (ours, burns) in ours.iter().zip(&burns) {
                close_relative(ours, burns, 2e-6);
            }
            // What went in is as it was.
            assert_eq!(to_array(gates), numbers(&[items, 4 * hidden, rows, cols], 1).mapv(|v| v * 3.0));
        }
    }

    #[test]
    fn a_recurrence_and_its_gradients_are_burns() {
        for (steps, pixels, inputs, hidden) in [(3, 5, 2, 3), (1, 1, 1, 1), (4, 37, 5, 9), (2, 32, 3, 16)] {
            let n = hidden;
            let shapes =
                [[inputs, steps * pixels], [n, pixels], [3 * n, inputs], [3 * n, n], [3 * n, 1], [3 * n, 1]];
            let all: Vec<Tensor<4>> =
                (0u64..).zip(shapes).map(|(k, [rows, cols])| tracked(&[rows, cols, 1, 1], k)).collect();
            let matrix = |k: usize| all[k].clone().reshape(shapes[k]);
            let bias = |k: usize| all[k].clone().reshape([3 * n]);
            let parameters = || GruParameters {
                input: matrix(2),
                hidden: matrix(3),
                input_bias: bias(4),
                hidden_bias: bias(5),
            };
            let burns = with_gradients(gru_of_burn(matrix(0), matrix(1), parameters(), steps), &all);
            let ours = with_gradients(gru(matrix(0), matrix(1), parameters(), steps), &all);
            assert_eq!(ours.len(), 7);
            for (ours, burns) in ours.iter().zip(&burns) {
                close_relative(ours, burns, 2e-6);
            }
        }
    }
}
