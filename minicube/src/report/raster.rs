//! Arrays as pictures.

use ndarray::ArrayView2;

/// Colours for values from low to high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// Brown over yellow to dark green: vegetation.
    Greens,
    /// Dark violet over green to yellow.
    Viridis,
    /// Blue over white to red: differences.
    Diverging,
    /// Black to white.
    Gray,
    /// White to dark blue: amounts.
    Blues,
}

impl Ramp {
    fn stops(self) -> &'static [[f32; 3]] {
        match self {
            Ramp::Greens => &[
                [140., 81., 10.],
                [223., 194., 125.],
                [246., 232., 195.],
                [199., 234., 180.],
                [65., 171., 93.],
                [0., 68., 27.],
            ],
            Ramp::Viridis => {
                &[[68., 1., 84.], [59., 82., 139.], [33., 145., 140.], [94., 201., 98.], [253., 231., 37.]]
            }
            Ramp::Diverging => &[
                [33., 102., 172.],
                [146., 197., 222.],
                [247., 247., 247.],
                [244., 165., 130.],
                [178., 24., 43.],
            ],
            Ramp::Gray => &[[0., 0., 0.], [255., 255., 255.]],
            Ramp::Blues => &[[247., 251., 255.], [158., 202., 225.], [66., 146., 198.], [8., 48., 107.]],
        }
    }

    /// The colour of `value` on a scale from `range.0` to `range.1`; NaN is light grey.
    #[must_use]
    pub fn color(self, value: f32, range: (f32, f32)) -> [u8; 3] {
        if value.is_nan() {
            return [222, 222, 222];
        }
        let stops = self.stops();
        let span = (range.1 - range.0).max(f32::MIN_POSITIVE);
        let position = ((value - range.0) / span).clamp(0.0, 1.0) * (stops.len() - 1) as f32;
        let low = (position as usize).min(stops.len() - 2);
        let share = position - low as f32;
        std::array::from_fn(|band| {
            (stops[low][band] * (1.0 - share) + stops[low + 1][band] * share).round() as u8
        })
    }
}

/// One array `[y, x]` as a picture: `(width, height, rgb)`.
#[must_use]
pub fn raster(values: ArrayView2<'_, f32>, ramp: Ramp, range: (f32, f32)) -> (usize, usize, Vec<u8>) {
    strip(&[values], ramp, range)
}

/// Arrays `[y, x]` of one shape side by side, two white pixels between them: `(width, height, rgb)`.
#[must_use]
pub fn strip(frames: &[ArrayView2<'_, f32>], ramp: Ramp, range: (f32, f32)) -> (usize, usize, Vec<u8>) {
    const GAP: usize = 2;
    let Some((rows, cols)) = frames.first().map(ArrayView2::dim) else { return (1, 1, vec![255; 3]) };
    let width = frames.len() * (cols + GAP) - GAP;
    let mut rgb = vec![255; width * rows * 3];
    for (number, frame) in frames.iter().enumerate() {
        for ((y, x), &value) in frame.indexed_iter().filter(|((y, x), _)| *y < rows && *x < cols) {
            let at = (y * width + number * (cols + GAP) + x) * 3;
            rgb[at..at + 3].copy_from_slice(&ramp.color(value, range));
        }
    }
    (width, rows, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn gray_is_linear_and_nan_is_light() {
        assert_eq!(Ramp::Gray.color(0.5, (0.0, 1.0)), [128, 128, 128]);
        assert_eq!(Ramp::Gray.color(9.0, (0.0, 1.0)), [255, 255, 255]);
        assert_eq!(Ramp::Greens.color(f32::NAN, (0.0, 1.0)), [222, 222, 222]);
    }

    #[test]
    fn frames_stand_side_by_side() {
        let frame = array![[0.0_f32], [1.0]];
        let (width, height, rgb) = strip(&[frame.view(), frame.view()], Ramp::Gray, (0.0, 1.0));
        assert_eq!((width, height, rgb.len()), (4, 2, 24));
        assert_eq!(rgb[..3], [0, 0, 0]);
        assert_eq!(rgb[9..12], [0, 0, 0], "second frame after one pixel and a gap of two");
        assert_eq!(rgb[12..15], [255, 255, 255]);
    }
}
