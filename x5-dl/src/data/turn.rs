//! Augmentation: a square image laid on itself in one of eight ways, with everything that has a direction.

use ndarray::{Array, ArrayView, ArrayViewMut, Axis, RemoveAxis};
use rand::Rng;

use crate::data::Batch;

/// The static layer whose values are directions: degrees clockwise from north.
const ASPECT: &str = "aspect";

/// Mirrored east to west or not, then turned clockwise by quarters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) mirrored: bool,
    pub(crate) quarters: u8,
}

impl Turn {
    /// One of the eight, each as likely; half turns only where height and width differ.
    pub(crate) fn draw(rng: &mut impl Rng, is_square: bool) -> Turn {
        let (mirrored, quarters) = (rng.random(), rng.random_range(0..4u8));
        Turn { mirrored, quarters: if is_square { quarters } else { quarters & 2 } }
    }

    /// Turns one sample of a batch: frames, masks, statics, and weather as far as it varies in space. `statics` are the
    /// names of the static layers.
    pub(crate) fn apply(self, batch: &mut Batch, item: usize, statics: &[String]) {
        self.plane(batch.dynamic.index_axis_mut(Axis(0), item));
        self.plane(batch.valid.index_axis_mut(Axis(0), item));
        self.plane(batch.weather.index_axis_mut(Axis(0), item));
        self.plane(batch.statics.index_axis_mut(Axis(0), item));
        for (layer, _) in statics.iter().enumerate().filter(|(_, name)| *name == ASPECT) {
            let mut aspect = batch.statics.index_axis_mut(Axis(0), item);
            aspect.index_axis_mut(Axis(0), layer).mapv_inplace(|degrees| self.direction(degrees));
        }
    }

    /// Turns the last two axes.
    fn plane<D: RemoveAxis>(self, mut array: ArrayViewMut<'_, f32, D>) {
        let whole: Array<f32, D> = array.to_owned();
        let (y, x) = (Axis(whole.ndim() - 2), Axis(whole.ndim() - 1));
        let mut turned: ArrayView<'_, f32, D> = whole.view();
        if self.mirrored {
            turned.invert_axis(x);
        }
        for _ in 0..self.quarters {
            turned.swap_axes(y.0, x.0);
            turned.invert_axis(x);
        }
        array.assign(&turned);
    }

    fn direction(self, degrees: f32) -> f32 {
        let mirrored = if self.mirrored { 360.0 - degrees } else { degrees };
        (mirrored + 90.0 * f32::from(self.quarters)).rem_euclid(360.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array4, Array5, ArrayView2, s};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn batch() -> Batch {
        let ramp = |b: usize, y: usize, x: usize| (100 * b + 2 * y + x) as f32;
        Batch {
            dynamic: Array5::from_shape_fn((2, 1, 1, 2, 2), |(b, _, _, y, x)| ramp(b, y, x)),
            valid: Array4::from_shape_fn((2, 1, 2, 2), |(b, _, y, x)| ramp(b, y, x)),
            weather: Array5::from_shape_fn((2, 1, 1, 1, 1), |(b, ..)| b as f32),
            // Elevation, and slopes that face north, east, south-west and nowhere.
            statics: Array4::from_shape_fn((2, 2, 2, 2), |(b, layer, y, x)| match layer {
                0 => ramp(b, y, x),
                _ => [0.0, 90.0, 225.0, f32::NAN][2 * y + x],
            }),
            dates: Array2::zeros((2, 1)),
            sample_ids: vec!["a".into(), "b".into()],
        }
    }

    /// Rows from the north, values from the west.
    fn values(plane: ArrayView2<'_, f32>) -> Vec<f32> {
        plane.iter().copied().collect()
    }

    /// A quarter clockwise: the upper left value goes to the upper right, and what faced north faces east.
    #[test]
    fn a_quarter_clockwise_by_hand() {
        let names = ["dem".to_owned(), "aspect".to_owned()];
        let mut found = batch();
        Turn { mirrored: false, quarters: 1 }.apply(&mut found, 1, &names);
        let turned = [102.0, 100.0, 103.0, 101.0];
        assert_eq!(values(found.dynamic.slice(s![1, 0, 0, .., ..])), turned);
        assert_eq!(values(found.valid.slice(s![1, 0, .., ..])), turned);
        assert_eq!(values(found.statics.slice(s![1, 0, .., ..])), turned);
        let aspect = values(found.statics.slice(s![1, 1, .., ..]));
        assert_eq!([aspect[0], aspect[1], aspect[3]], [315.0, 90.0, 180.0]);
        assert!(aspect[2].is_nan());
        assert_eq!(found.dynamic.index_axis(Axis(0), 0), batch().dynamic.index_axis(Axis(0), 0));
    }

    #[test]
    fn a_mirror_swaps_east_and_west() {
        let mut found = batch();
        Turn { mirrored: true, quarters: 0 }.apply(&mut found, 0, &["dem".into(), "aspect".into()]);
        assert_eq!(values(found.dynamic.slice(s![0, 0, 0, .., ..])), [1.0, 0.0, 3.0, 2.0]);
        let aspect = values(found.statics.slice(s![0, 1, .., ..]));
        assert_eq!([aspect[0], aspect[1], aspect[3]], [270.0, 0.0, 135.0]);
        assert!(aspect[2].is_nan());
    }

    #[test]
    fn all_eight_are_drawn_and_two_mirrors_are_none() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [[0; 4]; 2];
        for _ in 0..400 {
            let turn = Turn::draw(&mut rng, true);
            seen[usize::from(turn.mirrored)][usize::from(turn.quarters)] += 1;
            assert!(Turn::draw(&mut rng, false).quarters.is_multiple_of(2));
        }
        assert!(seen.iter().flatten().all(|&count| count > 25), "{seen:?}");
        let mut twice = batch();
        for _ in 0..2 {
            Turn { mirrored: true, quarters: 2 }.apply(&mut twice, 0, &[]);
        }
        assert_eq!(twice.dynamic, batch().dynamic);
    }
}
