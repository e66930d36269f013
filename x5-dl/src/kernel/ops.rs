//! The kernels as operations of burn's CPU backend, and what its tape needs to know of them.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

use super::conv::{self, Sizes};
use super::{conv_weight, gru, lstm};

/// Operations that a backend may have beside burn's.
#[backend_extension(Flex, Autodiff)]
pub(super) trait Kernels: Backend {
    /// [`super::convolve`] with a bias.
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        padding: usize,
    ) -> FloatTensor<Self>;

    /// [`super::lstm`], with the two states of an item one after the other: `[item, 2 * hidden, y, x]`.
    fn lstm(gates: FloatTensor<Self>, cell: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`super::gru`].
    fn gru(
        x: FloatTensor<Self>,
        state: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        input_bias: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        steps: usize,
    ) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn convolution(input: FlexTensor, weight: FlexTensor, bias: FlexTensor, padding: usize) -> FlexTensor {
        let sizes = convolution_sizes(&input, &weight, padding);
        let [input, weight, bias] = [input, weight, bias].map(packed);
        let values = conv::forward(sizes, values(&input), values(&weight), values(&bias));
        tensor(values, [sizes.items, sizes.outputs, sizes.out_rows(), sizes.out_cols()])
    }

    fn lstm(gates: FlexTensor, cell: FlexTensor) -> FlexTensor {
        step(gates, &packed(cell)).1
    }

    fn gru(
        x: FlexTensor,
        state: FlexTensor,
        input: FlexTensor,
        hidden: FlexTensor,
        input_bias: FlexTensor,
        hidden_bias: FlexTensor,
        steps: usize,
    ) -> FlexTensor {
        Recurrence::new([x, state, input, hidden, input_bias, hidden_bias], steps).run(false).0
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        padding: usize,
    ) -> FloatTensor<Self> {
        let inputs = [input, weight, bias];
        let nodes = inputs.each_ref().map(|tensor| tensor.node());
        let [input, weight, bias] = inputs.map(|tensor| tensor.into_primitive());
        let sizes = convolution_sizes(&input, &weight, padding);
        let [input, weight] = [input, weight].map(packed);
        let output = Flex::convolution(input.clone(), weight.clone(), bias, padding);
        match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((input, weight, sizes), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn lstm(gates: FloatTensor<Self>, cell: FloatTensor<Self>) -> FloatTensor<Self> {
        let inputs = [gates, cell];
        let nodes = inputs.each_ref().map(|tensor| tensor.node());
        let [gates, cell] = inputs.map(|tensor| tensor.into_primitive());
        let cell = packed(cell);
        let (gates, states) = step(gates, &cell);
        match Lstm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((gates, cell, states.clone()), states),
            OpsKind::UnTracked(prepared) => prepared.finish(states),
        }
    }

    fn gru(
        x: FloatTensor<Self>,
        state: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        input_bias: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        steps: usize,
    ) -> FloatTensor<Self> {
        let inputs = [x, state, input, hidden, input_bias, hidden_bias];
        let nodes = inputs.each_ref().map(|tensor| tensor.node());
        let recurrence = Recurrence::new(inputs.map(|tensor| tensor.into_primitive()), steps);
        match Gru.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (states, kept) = recurrence.run(true);
                prepared.finish((recurrence, states.clone(), Arc::new(kept)), states)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(recurrence.run(false).0),
        }
    }
}

#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 3> for Convolution {
    /// Input, weight and the sizes.
    type State = (FlexTensor, FlexTensor, Sizes);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (input, weight, sizes) = ops.state;
        let gradient = packed(gradients.consume::<Flex>(&ops.node));
        let [to_input, to_weight, to_bias] = ops.parents;
        if let Some(node) = to_input {
            let found = conv::input_gradient(sizes, values(&gradient), values(&weight));
            gradients.register::<Flex>(node.id, tensor(found, shape::<4>(&input)));
        }
        if let Some(node) = to_weight {
            let found = conv_weight::gradient(sizes, values(&input), values(&gradient));
            gradients.register::<Flex>(node.id, tensor(found, shape::<4>(&weight)));
        }
        if let Some(node) = to_bias {
            let found = conv::bias_gradient(sizes, values(&gradient));
            gradients.register::<Flex>(node.id, tensor(found, [sizes.outputs]));
        }
    }
}

#[derive(Debug)]
struct Lstm;

impl Backward<Flex, 2> for Lstm {
    /// Gates, the cell state before and the states after.
    type State = (FlexTensor, FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (gates, cell, states) = ops.state;
        let gradient = packed(gradients.consume::<Flex>(&ops.node));
        let [items, hidden, rows, cols] = shape(&cell);
        let one = hidden * rows * cols;
        let (mut sums, mut before) = (vec![0.0; 4 * items * one], vec![0.0; items * one]);
        for (k, (sums, before)) in
            sums.chunks_exact_mut(4 * one).zip(before.chunks_exact_mut(one)).enumerate()
        {
            let of = |tensor, size| &values(tensor)[k * size..][..size];
            let (states, gradient) = (of(&states, 2 * one), of(&gradient, 2 * one));
            lstm::gradient(of(&gates, 4 * one), of(&cell, one), states, gradient, sums, before);
        }
        let [to_gates, to_cell] = ops.parents;
        if let Some(node) = to_gates {
            gradients.register::<Flex>(node.id, tensor(sums, [items, 4 * hidden, rows, cols]));
        }
        if let Some(node) = to_cell {
            gradients.register::<Flex>(node.id, tensor(before, [items, hidden, rows, cols]));
        }
    }
}

/// All that a recurrence is computed from, in the order of [`Kernels::gru`].
#[derive(Clone, Debug)]
struct Recurrence {
    tensors: [FlexTensor; 6],
    sizes: gru::Sizes,
}

impl Recurrence {
    fn new(tensors: [FlexTensor; 6], steps: usize) -> Recurrence {
        let ([inputs, _], [hidden, pixels]) = (shape(&tensors[0]), shape(&tensors[1]));
        let sizes = gru::Sizes { steps, pixels, inputs, hidden };
        Recurrence { tensors: tensors.map(packed), sizes }
    }

    fn parameters(&self) -> gru::Parameters<'_> {
        let [_, _, input, hidden, input_bias, hidden_bias] = self.tensors.each_ref().map(values);
        gru::Parameters { input, hidden, input_bias, hidden_bias }
    }

    fn run(&self, keep: bool) -> (FlexTensor, gru::Kept) {
        let [x, state, ..] = self.tensors.each_ref().map(values);
        let (states, kept) = gru::forward(self.sizes, x, state, self.parameters(), keep);
        (tensor(states, [self.sizes.hidden, self.sizes.steps * self.sizes.pixels]), kept)
    }
}

#[derive(Debug)]
struct Gru;

impl Backward<Flex, 6> for Gru {
    /// What went in, the states, and what the forward pass kept.
    type State = (Recurrence, FlexTensor, Arc<gru::Kept>);

    fn backward(self, ops: Ops<Self::State, 6>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (recurrence, states, kept) = ops.state;
        let gradient = packed(gradients.consume::<Flex>(&ops.node));
        let [x, state, ..] = recurrence.tensors.each_ref().map(values);
        let (states, gradient) = (values(&states), values(&gradient));
        let kept = Arc::unwrap_or_clone(kept);
        let parameters = recurrence.parameters();
        let found = gru::gradient(recurrence.sizes, x, state, parameters, states, kept, gradient);
        for ((node, found), like) in ops.parents.into_iter().zip(found).zip(&recurrence.tensors) {
            if let Some(node) = node {
                gradients
                    .register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(found, like.shape())));
            }
        }
    }
}

/// The gates, turned in place where nobody else holds them, and the states after the step.
fn step(gates: FlexTensor, cell: &FlexTensor) -> (FlexTensor, FlexTensor) {
    let [items, hidden, rows, cols] = shape(cell);
    let one = hidden * rows * cols;
    let mut gates = match gates.as_slice::<f32>() {
        Some(whole) if whole.len() == gates.storage::<f32>().len() => gates,
        _ => tensor(values(&packed(gates)).to_vec(), [items, 4 * hidden, rows, cols]),
    };
    let mut states = vec![0.0; 2 * items * one];
    let each = gates.storage_mut::<f32>().chunks_exact_mut(4 * one).zip(values(cell).chunks_exact(one));
    for ((gates, cell), states) in each.zip(states.chunks_exact_mut(2 * one)) {
        lstm::step(gates, cell, states);
    }
    (gates, tensor(states, [items, 2 * hidden, rows, cols]))
}

fn convolution_sizes(input: &FlexTensor, weight: &FlexTensor, padding: usize) -> Sizes {
    let ([items, inputs, rows, cols], [outputs, _, kernel, _]) = (shape(input), shape(weight));
    Sizes { items, inputs, outputs, kernel, rows, cols, padding }
}

fn shape<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

/// The same values in C order.
fn packed(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The values of a packed tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
