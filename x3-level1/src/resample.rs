//! Source pixels to cube pixels: exact area weights, area average for reflectance, area mode for classes.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::asset::Stored;

/// Fractions of pixels smaller than this are rounding errors of coordinates, not overlaps.
const EPSILON_PX: f64 = 1e-6;

/// What each destination pixel of one axis takes from the source pixels of that axis.
///
/// Weights are lengths in source pixels: a 30 m pixel takes 1, 1, 1 from 10 m pixels and 1, 0.5 from 20 m pixels.
#[derive(Clone, Debug)]
pub struct AxisWeights {
    /// The source pixels that any destination pixel touches.
    pub window: Range<usize>,
    spans: Vec<Span>,
    weights: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    /// First source pixel, relative to the window.
    first: usize,
    /// Where its weights begin.
    offset: usize,
    /// How many source pixels.
    len: usize,
    /// The source pixel that holds the centre of the destination pixel, relative to `first`.
    center: usize,
}

impl AxisWeights {
    /// Weights of `count` destination pixels, the first of which begins at `start` and each of which is `step` long,
    /// both in source pixels. The source has `len` pixels; what lies outside has no weight.
    #[must_use]
    pub fn new(start: f64, step: f64, count: usize, len: usize) -> AxisWeights {
        let snap = |value: f64| {
            let near = value.round();
            if (value - near).abs() < EPSILON_PX { near } else { value }
        };
        let edge = |i: usize| snap(start + i as f64 * step).clamp(0.0, len as f64);
        let window = edge(0).floor() as usize..edge(count).ceil() as usize;
        let mut spans = Vec::with_capacity(count);
        let mut weights = Vec::new();
        for i in 0..count {
            let (from, to) = (edge(i), edge(i + 1));
            let first = from.floor() as usize;
            let end = if to > from { to.ceil() as usize } else { first };
            let middle = snap(start + (i as f64 + 0.5) * step).clamp(0.0, len as f64).floor() as usize;
            spans.push(Span {
                first: first.saturating_sub(window.start),
                offset: weights.len(),
                len: end - first,
                center: middle.clamp(first, end.max(first + 1) - 1) - first,
            });
            weights.extend((first..end).map(|px| (to.min(px as f64 + 1.0) - from.max(px as f64)) as f32));
        }
        AxisWeights { window, spans, weights }
    }

    fn of(&self, i: usize) -> (Range<usize>, &[f32], usize) {
        let span = self.spans[i];
        let weights = &self.weights[span.offset..span.offset + span.len];
        (span.first..span.first + span.len, weights, span.center)
    }
}

/// Area average over the valid source pixels, as it is stored, rounded half up; 0 where no source pixel is valid.
///
/// # Shapes
/// `source` is `[rows.window, cols.window]`, `out` is `[y, x]`. A source pixel is valid unless it is `nodata`; the
/// result stays within 1..=65535, because 0 means "no data".
pub fn area_average(
    source: ArrayView2<'_, u16>,
    rows: &AxisWeights,
    cols: &AxisWeights,
    nodata: u16,
    stored: Stored,
    mut out: ArrayViewMut2<'_, u16>,
) {
    let width = source.ncols();
    let mut sum = vec![0f32; width];
    let mut area = vec![0f32; width];
    for (y, mut line) in out.rows_mut().into_iter().enumerate() {
        sum.fill(0.0);
        area.fill(0.0);
        let (range, weights, _) = rows.of(y);
        for (row, &weight) in range.zip(weights) {
            for ((&value, sum), area) in source.row(row).iter().zip(&mut sum).zip(&mut area) {
                let weight = if value == nodata { 0.0 } else { weight };
                *sum += weight * f32::from(value);
                *area += weight;
            }
        }
        for (x, pixel) in line.iter_mut().enumerate() {
            let (range, weights, _) = cols.of(x);
            let (mut total, mut valid) = (0f32, 0f32);
            for (column, &weight) in range.zip(weights) {
                total += weight * sum[column];
                valid += weight * area[column];
            }
            *pixel =
                if valid > 0.0 { rounded(total / valid * stored.gain + f32::from(stored.add)) } else { 0 };
        }
    }
}

fn rounded(value: f32) -> u16 {
    (value + 0.5).floor().clamp(1.0, 65_535.0) as u16
}

/// The class with the largest area among the valid source pixels; `nodata` where there is none. Of several classes
/// with the same area the one at the centre of the destination pixel wins, otherwise the lowest.
///
/// # Shapes
/// As [`area_average`].
pub fn area_mode(
    source: ArrayView2<'_, u8>,
    rows: &AxisWeights,
    cols: &AxisWeights,
    nodata: u8,
    mut out: ArrayViewMut2<'_, u8>,
) {
    let mut tally: Vec<(u8, f32)> = Vec::with_capacity(16);
    for (y, mut line) in out.rows_mut().into_iter().enumerate() {
        let (row_range, row_weights, row_center) = rows.of(y);
        for (x, pixel) in line.iter_mut().enumerate() {
            let (col_range, col_weights, col_center) = cols.of(x);
            tally.clear();
            for (row, &wy) in row_range.clone().zip(row_weights) {
                for (column, &wx) in col_range.clone().zip(col_weights) {
                    let class = source[[row, column]];
                    match tally.iter_mut().find(|(known, _)| *known == class) {
                        _ if class == nodata => {}
                        Some((_, area)) => *area += wy * wx,
                        None => tally.push((class, wy * wx)),
                    }
                }
            }
            let center = (!row_range.is_empty() && !col_range.is_empty())
                .then(|| source[[row_range.start + row_center, col_range.start + col_center]]);
            *pixel = winner(&tally, center).unwrap_or(nodata);
        }
    }
}

/// The class of the source pixel that holds the centre of the destination pixel (of several that meet there the
/// south-eastern one); `nodata` outside the source.
///
/// # Shapes
/// As [`area_average`].
pub fn nearest(
    source: ArrayView2<'_, u8>,
    rows: &AxisWeights,
    cols: &AxisWeights,
    nodata: u8,
    mut out: ArrayViewMut2<'_, u8>,
) {
    let at = |weights: &AxisWeights, i: usize| {
        let (range, _, center) = weights.of(i);
        (!range.is_empty()).then_some(range.start + center)
    };
    for ((y, x), pixel) in out.indexed_iter_mut() {
        *pixel = at(rows, y).zip(at(cols, x)).map_or(nodata, |(row, col)| source[[row, col]]);
    }
}

fn winner(tally: &[(u8, f32)], center: Option<u8>) -> Option<u8> {
    const TIE: f32 = 1e-4;
    let largest = tally.iter().map(|&(_, area)| area).fold(0.0, f32::max);
    let tied = || tally.iter().filter(|&&(_, area)| area >= largest - TIE).map(|&(class, _)| class);
    tied().find(|&class| Some(class) == center).or_else(|| tied().min())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn average(source: &Array2<u16>, step: f64, n: usize, offset: u16) -> Array2<u16> {
        let rows = AxisWeights::new(0.0, step, n, source.nrows());
        let cols = AxisWeights::new(0.0, step, n, source.ncols());
        let mut out = Array2::zeros((n, n));
        area_average(source.view(), &rows, &cols, 0, Stored { gain: 1.0, add: offset }, out.view_mut());
        out
    }

    fn mode(source: &Array2<u8>, step: f64, n: usize) -> Array2<u8> {
        let rows = AxisWeights::new(0.0, step, n, source.nrows());
        let cols = AxisWeights::new(0.0, step, n, source.ncols());
        let mut out = Array2::zeros((n, n));
        area_mode(source.view(), &rows, &cols, 0, out.view_mut());
        out
    }

    /// 10 m to 30 m: nine pixels, one of them without data: (1+2+3+4+5+6+7+8)/8 = 4.5, half up 5, plus 1000.
    #[test]
    fn ten_to_thirty_metres_averages_the_valid_of_nine() {
        let source = array![[1, 2, 3], [4, 5, 6], [7, 8, 0]];
        assert_eq!(average(&source, 3.0, 1, 1000), array![[1005]]);
        assert_eq!(average(&source, 3.0, 1, 0), array![[5]]);
        assert_eq!(average(&Array2::zeros((3, 3)), 3.0, 1, 1000), array![[0]], "no data stays 0, not 1000");
    }

    /// 20 m to 30 m: 1.5 pixels an axis. Upper left: (10·1 + 20·.5 + 40·.5 + 50·.25) / 2.25 = 52.5 / 2.25 = 23.33;
    /// lower right: (50·.25 + 60·.5 + 80·.5 + 90·1) / 2.25 = 172.5 / 2.25 = 76.67.
    #[test]
    fn twenty_to_thirty_metres_uses_exact_areas() {
        let source = array![[10, 20, 30], [40, 50, 60], [70, 80, 90]];
        // Upper right: (20·.5 + 30 + 50·.25 + 60·.5) / 2.25 = 36.67; lower left: (40·.5 + 50·.25 + 70 + 80·.5) / 2.25 = 63.33.
        assert_eq!(average(&source, 1.5, 2, 0), array![[23, 37], [63, 77]]);
        // Without the 10: (20·.5 + 40·.5 + 50·.25) / 1.25 = 34.
        let mut holed = source;
        holed[[0, 0]] = 0;
        assert_eq!(average(&holed, 1.5, 2, 0)[[0, 0]], 34);
    }

    #[test]
    fn averages_stay_inside_the_stored_range() {
        assert_eq!(average(&array![[65_000]], 1.0, 1, 1000), array![[65_535]]);
        assert_eq!(average(&array![[1]], 1.0, 1, 0), array![[1]]);
    }

    /// An item whose numbers are hundredths, for a store of thousandths: (12 + 13) / 2 × 10 = 125.
    #[test]
    fn numbers_of_another_scale_are_multiplied_before_rounding() {
        let weights = AxisWeights::new(0.0, 2.0, 1, 2);
        let mut out = Array2::zeros((1, 1));
        let stored = Stored { gain: 10.0, add: 0 };
        area_average(array![[12, 13], [0, 0]].view(), &weights, &weights, 0, stored, out.view_mut());
        assert_eq!(out, array![[125]]);
    }

    /// 20 m to 30 m: centres at 0.75 and 2.25; 10 m to 20 m: centres where four pixels meet, at 1 and 3.
    #[test]
    fn the_nearest_class_is_that_of_the_centre() {
        let take = |source: &Array2<u8>, start: f64, step: f64, n: usize| {
            let weights = AxisWeights::new(start, step, n, source.nrows());
            let mut out = Array2::from_elem((n, n), 99);
            let window = source.slice(ndarray::s![weights.window.clone(), weights.window.clone()]);
            nearest(window, &weights, &weights, 0, out.view_mut());
            out
        };
        let three = array![[4, 9, 5], [9, 9, 9], [6, 9, 7]];
        assert_eq!(take(&three, 0.0, 1.5, 2), array![[4, 5], [6, 7]]);
        let four = array![[1, 1, 1, 1], [1, 2, 1, 3], [1, 1, 1, 1], [1, 4, 1, 5]];
        assert_eq!(take(&four, 0.0, 2.0, 2), array![[2, 3], [4, 5]]);
        // The first pixel begins one pixel outside, its centre is in the first; the last lies outside.
        assert_eq!(take(&three, -1.0, 3.0, 3).column(0).to_vec(), [4, 6, 0]);
    }

    #[test]
    fn a_constant_field_stays_constant_at_any_step() {
        for step in [0.3, 1.0, 1.5, 2.0, 2.7, 3.0] {
            let n = (30.0 / step) as usize;
            let out = average(&Array2::from_elem((30, 30), 1234), step, n, 0);
            assert!(out.iter().all(|&v| v == 1234), "step {step}");
        }
    }

    /// What lies outside the source has no weight: the second pixel has only the third source pixel.
    #[test]
    fn windows_are_cut_at_the_edge_of_the_source() {
        let weights = AxisWeights::new(0.0, 2.0, 3, 3);
        assert_eq!(weights.window, 0..3);
        assert_eq!(weights.of(1).1, [1.0]);
        assert!(weights.of(2).1.is_empty());
        let mut out = Array2::from_elem((3, 3), 9);
        let source = array![[1, 1, 5], [1, 1, 5], [7, 7, 9]];
        area_average(source.view(), &weights, &weights, 0, Stored::AS_IT_IS, out.view_mut());
        assert_eq!(out, array![[1, 5, 0], [7, 9, 0], [0, 0, 0]]);
    }

    /// Coordinates that miss a pixel edge by rounding do not pull in the neighbour.
    #[test]
    fn rounding_errors_of_coordinates_are_snapped() {
        let weights = AxisWeights::new(383.999_999_9, 3.0, 2, 10_980);
        assert_eq!(weights.window, 384..390);
        assert_eq!(weights.of(0).1, [1.0, 1.0, 1.0]);
    }

    /// Areas in the upper-left 1.5 × 1.5: full pixel 1, the two halves .5 each, the corner .25.
    #[test]
    fn the_mode_is_weighted_by_area() {
        // 4 covers 1; 9 covers .5 + .5 + .25 = 1.25.
        assert_eq!(mode(&array![[4, 9, 9], [9, 9, 9], [9, 9, 9]], 1.5, 2)[[0, 0]], 9);
        // 4 covers 1, 9 covers .5 + .5 = 1: a tie, and 4 is at the centre. Then with the roles swapped.
        assert_eq!(mode(&array![[4, 9, 9], [9, 5, 9], [9, 9, 9]], 1.5, 2)[[0, 0]], 4);
        assert_eq!(mode(&array![[9, 4, 4], [4, 5, 4], [4, 4, 4]], 1.5, 2)[[0, 0]], 9);
        // No data does not vote.
        assert_eq!(mode(&array![[0, 3, 3], [0, 0, 3], [3, 3, 3]], 1.5, 2)[[0, 0]], 3);
        // A tie without the centre's class (it has no data): the lowest.
        assert_eq!(mode(&array![[8, 8, 5], [8, 0, 5], [5, 5, 9]], 3.0, 1)[[0, 0]], 5);
        assert_eq!(mode(&array![[8, 8, 5], [8, 0, 5], [5, 0, 9]], 3.0, 1)[[0, 0]], 5);
        assert_eq!(mode(&Array2::zeros((3, 3)), 1.5, 2), Array2::<u8>::zeros((2, 2)));
    }
}
