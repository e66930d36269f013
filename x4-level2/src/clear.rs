//! Which observations are clear, from the scene classification layer.

use ndarray::{Array3, ArrayView3};

/// Classes of Sen2Cor's scene classification that hide the ground: cloud shadow, cloud of medium and of high
/// probability, thin cirrus. Only these grow by dilation; the edge of the swath does not.
const CLOUDS: [u8; 4] = [3, 8, 9, 10];

/// 1 where the class is one of `keep` and no cloud or shadow lies within `dilate_px` pixels (a square), else 0.
///
/// # Shapes
/// - scl: `[time, y, x]`
/// - output: `[time, y, x]`
#[must_use]
pub fn clear_pixels(scl: ArrayView3<'_, u8>, keep: &[u8], dilate_px: usize) -> Array3<u8> {
    let mut table = [0_u8; 256];
    for &class in keep {
        table[class as usize] = 1;
    }
    let mut clear = scl.mapv(|class| table[class as usize]);
    if dilate_px > 0 {
        for (mut clear, scl) in clear.outer_iter_mut().zip(scl.outer_iter()) {
            let (rows, cols) = scl.dim();
            let clouds =
                scl.indexed_iter().filter(|(_, class)| CLOUDS.contains(class) && !keep.contains(class));
            for ((row, col), _) in clouds {
                let near =
                    |at: usize, len: usize| at.saturating_sub(dilate_px)..(at + dilate_px + 1).min(len);
                let (rows, cols) = (near(row, rows), near(col, cols));
                clear.slice_mut(ndarray::s![rows, cols]).fill(0);
            }
        }
    }
    clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{array, s};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn keeps_the_listed_classes() {
        let scl = array![[[0_u8, 3, 4, 5, 6, 7, 8, 11]]];
        let clear = clear_pixels(scl.view(), &[4, 5, 6, 7], 0);
        assert_eq!(clear.slice(s![0, 0, ..]).to_vec(), [0, 0, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn clouds_grow_and_missing_pixels_do_not() {
        let scl = array![[[9_u8, 4, 4, 0, 4], [4, 4, 4, 4, 4], [4, 4, 4, 4, 4]]];
        let clear = clear_pixels(scl.view(), &[4], 1);
        assert_eq!(clear.slice(s![0, .., ..]), array![[0, 0, 1, 0, 1], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]);
    }

    /// By definition, on random classes: a pixel is clear where its class is kept and no pixel of the square around it,
    /// as far as the image reaches, is a cloud that is not kept.
    #[test]
    fn equals_the_plain_definition_on_random_classes() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for case in 0..60 {
            let (times, rows, cols) = (2, rng.random_range(1..12), rng.random_range(1..12));
            let scl = Array3::from_shape_fn((times, rows, cols), |_| rng.random_range(0..12_u8));
            let (keep, reach) = ([vec![4, 5, 6, 7], vec![3, 4]][case % 2].clone(), case / 2 % 4);
            let clear = clear_pixels(scl.view(), &keep, reach);
            for ((t, y, x), &found) in clear.indexed_iter() {
                let near = scl.indexed_iter().filter(|&((time, row, col), _)| {
                    time == t && row.abs_diff(y) <= reach && col.abs_diff(x) <= reach
                });
                let mut clouds =
                    near.filter(|(_, class)| [3, 8, 9, 10].contains(*class) && !keep.contains(class));
                let expected = keep.contains(&scl[[t, y, x]]) && (reach == 0 || clouds.next().is_none());
                assert_eq!(found, u8::from(expected));
            }
        }
    }

    #[test]
    fn a_class_that_is_kept_does_not_grow() {
        let scl = array![[[3_u8, 4]]];
        assert_eq!(clear_pixels(scl.view(), &[3, 4], 1), array![[[1, 1]]]);
    }
}
