//! Maps of an image for networks that begin from nothing: what each pixel is, beside what a small U-Net sees around it.
//!
//! The U-Net normalises what it sees, and so loses the level of an image's values; the pixel's own values keep it. Without
//! the U-Net a network is what it is worth without surroundings.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::model::layers::{Conv, cut_to, pad_to};
use crate::model::unet::{Decoder, Encoder};

/// Halvings of the image.
const DEPTH: usize = 3;
const KERNEL: usize = 3;

/// A U-Net, or none, and two linear maps of each pixel.
#[derive(Module, Debug)]
pub(crate) struct Surroundings {
    enc: Option<Encoder>,
    dec: Option<Decoder>,
    first: Conv,
    second: Conv,
}

impl Surroundings {
    /// `width` channels at every scale of the U-Net; 0 = no U-Net.
    pub(crate) fn new(inputs: usize, width: usize, maps: usize, device: &Device) -> Surroundings {
        Surroundings {
            enc: (width > 0).then(|| Encoder::new(inputs, width, DEPTH, KERNEL, device)),
            dec: (width > 0).then(|| Decoder::new(width, width, DEPTH, KERNEL, device)),
            first: Conv::new(inputs + width, 2 * maps, 1, device),
            second: Conv::new(2 * maps, maps, 1, device),
        }
    }

    /// `[batch, map, y, x]` of `[batch, input, y, x]`.
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [_, _, rows, cols] = input.dims();
        let seen = match (&self.enc, &self.dec) {
            (Some(enc), Some(dec)) => {
                let scales = enc.forward(pad_to(input.clone(), 1 << DEPTH));
                let around = cut_to(dec.forward(scales[DEPTH].clone(), &scales), rows, cols);
                Tensor::cat(vec![input, around], 1)
            }
            _ => input,
        };
        self.second.forward(relu(self.first.forward(seen)))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;
    use crate::harness::{backend, testing, weights};
    use crate::model::init;

    fn net(width: usize) -> Surroundings {
        let net = Surroundings::new(2, width, 5, &backend::device());
        let start = init::uniform(weights::collect(&net), 3, init::fan_in);
        weights::load(net, &start, &backend::device()).unwrap()
    }

    fn maps(net: &Surroundings, image: &ArrayD<f32>) -> ArrayD<f32> {
        weights::to_array(net.forward(weights::from_array(image, &backend::device())))
    }

    #[test]
    fn the_far_corner_and_the_level_of_an_image_are_seen() {
        let (net, image) = (net(6), testing::numbers(&[1, 2, 10, 11], 4));
        let before = maps(&net, &image);
        assert_eq!(before.shape(), [1, 5, 10, 11], "of any size");
        let corner = |maps: &ArrayD<f32>| (0..5).map(|k| maps[[0, k, 9, 10]]).collect::<Vec<f32>>();
        let mut other = image.clone();
        other[[0, 0, 0, 0]] += 3.0;
        assert_ne!(corner(&maps(&net, &other)), corner(&before));
        // Of an even image the normalisations leave nothing; its value is in the maps all the same.
        let even = |value: f32| maps(&net, &ArrayD::from_elem(IxDyn(&[1, 2, 8, 8]), value));
        let (low, high) = (even(0.2), even(0.8));
        let differ = low.iter().zip(&high).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
        assert!(differ > 64, "{differ}");
    }

    #[test]
    fn without_the_unet_a_pixel_is_all_that_its_maps_know() {
        let (net, image) = (net(0), testing::numbers(&[1, 2, 10, 11], 4));
        let before = maps(&net, &image);
        let mut other = image.clone();
        other[[0, 1, 4, 5]] += 3.0;
        let after = maps(&net, &other);
        for ((place, before), after) in before.indexed_iter().zip(&after) {
            assert_eq!(before != after, (place[2], place[3]) == (4, 5), "{place:?}");
        }
    }
}
