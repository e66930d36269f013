//! Several acquisitions of a tile on one day as one frame: each pixel from the clearest of them.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Zip};

use crate::config::SameDay;
use crate::scene::Scene;

/// Classes that show the ground: dark area, vegetation, soil, water, unclassified, snow.
pub(crate) const CLEAR: [u8; 6] = [2, 4, 5, 6, 7, 11];

/// The variable, below `s2/`, that says which acquisition of a merged day a pixel is from.
pub(crate) const ACQUISITION: &str = "acquisition";

/// For each pixel the acquisition it is taken from, counted from 1; 0 where none has data.
///
/// A class that shows the ground (2, 4, 5, 6, 7, 11) goes before one that does not (1, 3, 8, 9, 10); 0 is no data. Of
/// equals the earlier in the list is taken.
///
/// # Shapes
/// One scene classification `[y, x]` per acquisition, ascending by time; the result is `[y, x]`. More than 255
/// acquisitions make no sense, and those beyond are never chosen.
#[must_use]
pub fn clearest(classes: &[ArrayView2<'_, u8>]) -> Array2<u8> {
    let shape = classes.first().map_or((0, 0), |first| first.dim());
    let mut chosen = Array2::zeros(shape);
    let mut best = Array2::<u8>::zeros(shape);
    for (number, scl) in (1..=u8::MAX).zip(classes) {
        Zip::from(&mut chosen).and(&mut best).and(scl).for_each(|chosen, best, &class| {
            let rank = match class {
                0 => 0,
                class if CLEAR.contains(&class) => 2,
                _ => 1,
            };
            if rank > *best {
                (*chosen, *best) = (number, rank);
            }
        });
    }
    chosen
}

/// The acquisitions of each frame, as ranges of `scenes`, which are ascending.
#[must_use]
pub(crate) fn frames(scenes: &[Scene], rule: SameDay) -> Vec<Range<usize>> {
    let mut start = 0;
    let frames = scenes.chunk_by(|a, b| rule == SameDay::Merge && a.day == b.day).map(|frame| {
        start += frame.len();
        start - frame.len()..start
    });
    frames.collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// Clear before cloud whatever the order, cloud before no data, the earlier of two clear or of two cloudy ones.
    #[test]
    fn the_clearest_acquisition_wins_and_the_earlier_of_equals() {
        let first = array![[4, 9, 0, 0], [8, 3, 6, 1]];
        let second = array![[5, 4, 9, 0], [10, 2, 9, 9]];
        let third = array![[11, 7, 5, 0], [9, 4, 0, 6]];
        let chosen = clearest(&[first.view(), second.view(), third.view()]);
        assert_eq!(chosen, array![[1, 2, 3, 0], [1, 2, 1, 3]]);
        assert_eq!(clearest(&[third.view()]), array![[1, 1, 1, 0], [1, 1, 0, 1]]);
    }
}
