//! EarthNetScore (Requena-Mesa et al. 2021, <https://doi.org/10.1109/CVPRW53098.2021.00124>), as the reference
//! package `earthnet` 0.3 computes it, quirks included.
//!
//! Four components in 0..1, larger is better: MAD (median absolute deviation), OLS (trend), EMD (distribution)
//! and SSIM (structure). One deviation: the package adds unseeded noise below 1e-4 to the normal equations of
//! OLS. This solves them exactly. The difference is about 1e-5 on real cubes; only where prediction and target
//! have *equal* trends does the package's noise matter (it turns a perfect 1 into about 0.74).

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayView4, Zip, s};
use serde::{Deserialize, Serialize};

const MAD_POWER: f64 = 0.066_493_469_710_875_26;
const OLS_EMD_POWER: f64 = 0.100_820_475_486_205_01;
const SSIM_POWER: f64 = 10.318_851_15;
/// Series longer than this are cut for OLS into pieces of [`OLS_PIECE`] frames.
const OLS_LONGEST: usize = 40;
const OLS_PIECE: usize = 20;
const RED: usize = 2;
const NIR: usize = 3;

/// The four components; `None` where one is undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct EnsComponents {
    /// Median absolute deviation of all bands.
    pub mad: Option<f64>,
    /// Distance of the NDVI trends.
    pub ols: Option<f64>,
    /// Distance of the NDVI distributions.
    pub emd: Option<f64>,
    /// Structural similarity of the frames.
    pub ssim: Option<f64>,
}

impl EnsComponents {
    /// Harmonic mean of the components; like the package it leaves out the undefined *and the zero* ones.
    #[must_use]
    pub fn harmonic_mean(&self) -> Option<f64> {
        harmonic_mean([self.mad, self.ols, self.emd, self.ssim])
    }
}

/// Score of a set of cubes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarthNetScore {
    /// EarthNetScore: the harmonic mean of the four averages.
    #[serde(rename = "ENS")]
    pub ens: Option<f64>,
    /// Each component averaged over the cubes that have it.
    #[serde(flatten)]
    pub components: EnsComponents,
}

/// Components of one forecast of one cube.
///
/// # Shapes
/// `prediction` and `target` are `[time, band, y, x]` with bands blue, green, red, nir; `valid` is
/// `[time, y, x]`, positive where the target counts. Values are clipped to 0..1 first and NaN counts as 0, as
/// the package's loader does.
#[must_use]
pub fn cube_components(
    prediction: ArrayView4<'_, f32>,
    target: ArrayView4<'_, f32>,
    valid: ArrayView3<'_, f32>,
) -> EnsComponents {
    let clip = |v: f32| if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
    let (prediction, target) = (prediction.mapv(clip), target.mapv(clip));
    let ndvi = |a: ArrayView4<'_, f32>| {
        let (red, nir) = (a.slice(s![.., RED, .., ..]), a.slice(s![.., NIR, .., ..]));
        Zip::from(red).and(nir).map_collect(|&r, &n| (n - r) / (n + r + 1e-6))
    };
    let pixels = Pixels::new(&ndvi(prediction.view()), &ndvi(target.view()), valid);
    EnsComponents {
        mad: Some(mad(prediction.view(), target.view(), valid)),
        ols: Some(ols(&pixels)),
        emd: Some(emd(&pixels)),
        ssim: ssim(prediction.view(), target.view(), valid),
    }
}

/// Score of many cubes, each with one or more forecasts of which the best (by its own harmonic mean) counts.
#[must_use]
pub fn earthnet_score(cubes: &[Vec<EnsComponents>]) -> EarthNetScore {
    let best: Vec<EnsComponents> = cubes.iter().filter_map(|forecasts| best_of(forecasts)).collect();
    let mean = |pick: fn(&EnsComponents) -> Option<f64>| {
        let values: Vec<f64> = best.iter().filter_map(pick).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let components = EnsComponents {
        mad: mean(|c| c.mad),
        ols: mean(|c| c.ols),
        emd: mean(|c| c.emd),
        ssim: mean(|c| c.ssim),
    };
    EarthNetScore { ens: components.harmonic_mean(), components }
}

fn best_of(forecasts: &[EnsComponents]) -> Option<EnsComponents> {
    let mut best: Option<(f64, EnsComponents)> = None;
    for &forecast in forecasts {
        let score = forecast.harmonic_mean().unwrap_or(0.0);
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, forecast));
        }
    }
    best.map(|(_, components)| components)
}

fn harmonic_mean(values: [Option<f64>; 4]) -> Option<f64> {
    let kept: Vec<f64> = values.into_iter().flatten().filter(|&v| v != 0.0).collect();
    let sum: f64 = kept.iter().map(|v| 1.0 / (v + 1e-8)).sum();
    (!kept.is_empty()).then(|| (kept.len() as f64 / sum).min(1.0))
}

/// 1 - median over the valid values of |p - y|^a; the power is taken before the median. 1 where none is valid.
fn mad(prediction: ArrayView4<'_, f32>, target: ArrayView4<'_, f32>, valid: ArrayView3<'_, f32>) -> f64 {
    let mut distances = Vec::with_capacity(prediction.len());
    for band in 0..prediction.shape()[1] {
        Zip::from(prediction.slice(s![.., band, .., ..]))
            .and(target.slice(s![.., band, .., ..]))
            .and(valid)
            .for_each(|&p, &y, &m| {
                if m > 0.0 {
                    distances.push((p - y).abs());
                }
            });
    }
    let n = distances.len();
    if n == 0 {
        return 1.0;
    }
    let (below, &mut upper, _) = distances.select_nth_unstable_by(n / 2, f32::total_cmp);
    let power = |v: f32| f64::from(v).powf(MAD_POWER);
    let median = if n % 2 == 1 {
        power(upper)
    } else {
        let lower = below.iter().copied().fold(0.0, f32::max);
        (power(lower) + power(upper)) / 2.0
    };
    (1.0 - median).clamp(0.0, 1.0)
}

/// NDVI series of all pixels, `[pixel, time]`.
struct Pixels {
    prediction: Array2<f64>,
    target: Array2<f64>,
    valid: Array2<bool>,
}

impl Pixels {
    fn new(prediction: &Array3<f32>, target: &Array3<f32>, valid: ArrayView3<'_, f32>) -> Pixels {
        let (time, rows, cols) = prediction.dim();
        let at = |a: &Array3<f32>| {
            Array2::from_shape_fn((rows * cols, time), |(p, t)| f64::from(a[[t, p / cols, p % cols]]))
        };
        Pixels {
            prediction: at(prediction),
            target: at(target),
            valid: Array2::from_shape_fn((rows * cols, time), |(p, t)| valid[[t, p / cols, p % cols]] > 0.0),
        }
    }

    fn series(
        &self,
    ) -> impl Iterator<Item = (ArrayView1<'_, f64>, ArrayView1<'_, f64>, ArrayView1<'_, bool>)> {
        let rows = self.prediction.rows().into_iter().zip(self.target.rows()).zip(self.valid.rows());
        rows.map(|((p, y), m)| (p, y, m))
    }
}

/// 1 - mean over all pixels of the trend distance to the power b. Pixels with fewer than two valid frames have
/// distance 0, so they count as perfect.
fn ols(pixels: &Pixels) -> f64 {
    let time = pixels.prediction.ncols();
    let piece = if time > OLS_LONGEST { OLS_PIECE } else { time };
    let (mut sum, mut count) = (0.0, 0usize);
    for (p, y, m) in pixels.series() {
        // A rest shorter than a piece cannot be cut by the package at all; it is left out here.
        for from in (0..time).step_by(piece.max(1)).filter(|from| from + piece <= time) {
            let cut = s![from..from + piece];
            sum += trend_distance(p.slice(cut), y.slice(cut), m.slice(cut)).powf(OLS_EMD_POWER);
            count += 1;
        }
    }
    if count == 0 { 1.0 } else { (1.0 - sum / count as f64).clamp(0.0, 1.0) }
}

/// Half the difference of the least-squares slopes over a regressor that runs from 2 to 4 between the first and
/// the last valid frame; the target over its valid frames, the prediction over all frames between them.
fn trend_distance(p: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>, m: ArrayView1<'_, bool>) -> f64 {
    let frames: Vec<usize> = (0..m.len()).filter(|&t| m[t]).collect();
    let (Some(&first), Some(&last)) = (frames.first(), frames.last()) else { return 0.0 };
    if frames.len() < 2 {
        return 0.0;
    }
    let step = 1.0 / (m.len() - 1) as f64;
    let regressor =
        |t: usize| 2.0 * (((t - first) as f64 * step) / ((last - first) as f64 * step + 1e-8) + 1.0);
    let of_target = slope(frames.iter().map(|&t| (regressor(t), y[t])));
    let of_prediction = slope((first..=last).map(|t| (regressor(t), p[t])));
    (of_target - of_prediction).abs() / 2.0
}

fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let n = points.clone().count() as f64;
    let (sx, sy) = points.clone().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (mx, my) = (sx / n, sy / n);
    let (xy, xx) =
        points.fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + (x - mx) * (y - my), xx + (x - mx) * (x - mx)));
    xy / xx
}

/// 1 - mean over pixels with at least two valid frames of W1^b; 1 where there is none. The prediction's
/// distribution is that of *all* frames, the target's of the valid ones.
fn emd(pixels: &Pixels) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for (p, y, m) in pixels.series() {
        if let Some(distance) = wasserstein(p, y, m) {
            sum += distance.powf(OLS_EMD_POWER);
            count += 1;
        }
    }
    if count == 0 { 1.0 } else { (1.0 - sum / count as f64).clamp(0.0, 1.0) }
}

/// 1-D Wasserstein distance of two empirical distributions of any sizes: the area between their CDFs.
fn wasserstein(p: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>, m: ArrayView1<'_, bool>) -> Option<f64> {
    let mut a = p.to_vec();
    let mut b: Vec<f64> = (0..y.len()).filter(|&t| m[t]).map(|t| y[t]).collect();
    if b.len() < 2 {
        return None;
    }
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut previous = a[0].min(b[0]);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(&u), Some(&v)) => u.min(v),
            (Some(&u), None) | (None, Some(&u)) => u,
            (None, None) => break,
        };
        area += (next - previous) * (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs();
        previous = next;
        i += a[i..].iter().take_while(|&&v| v == next).count();
        j += b[j..].iter().take_while(|&&v| v == next).count();
    }
    Some(area)
}

/// max(0, mean SSIM)^s over every (frame, band) with more than 70 % valid pixels; masked target pixels are
/// replaced by the prediction. `None` where no frame qualifies.
fn ssim(
    prediction: ArrayView4<'_, f32>,
    target: ArrayView4<'_, f32>,
    valid: ArrayView3<'_, f32>,
) -> Option<f64> {
    let valid = valid.mapv(|v| v > 0.0);
    // The package's OLS empties, in place, the mask of pixels with fewer than two valid frames, and that array
    // is a view of the first band's mask, which SSIM uses next. Series it cuts are copied, and escape.
    let mut first_band = valid.clone();
    if valid.shape()[0] <= OLS_LONGEST {
        for mut series in first_band.lanes_mut(ndarray::Axis(0)) {
            if series.iter().filter(|&&v| v).count() < 2 {
                series.fill(false);
            }
        }
    }
    let (mut sum, mut count) = (0.0, 0usize);
    for t in 0..valid.shape()[0] {
        for band in 0..prediction.shape()[1] {
            let mask = if band == 0 { &first_band } else { &valid };
            let mask = mask.slice(s![t, .., ..]);
            let share = mask.iter().filter(|&&v| v).count() as f64 / mask.len() as f64;
            if share > 0.7 {
                let p = prediction.slice(s![t, band, .., ..]);
                let y = target.slice(s![t, band, .., ..]);
                let filled = Zip::from(mask).and(p).and(y).map_collect(|&m, &p, &y| if m { y } else { p });
                sum += frame_ssim(p, filled.view());
                count += 1;
            }
        }
    }
    (count > 0).then(|| (sum / count as f64).max(0.0).powf(SSIM_POWER))
}

/// Mean structural similarity of two images: 7×7 uniform window, sample covariance, data range 2 (what the
/// package's scikit-image assumed for floats), image border of 3 pixels left out.
fn frame_ssim(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    const WINDOW: usize = 7;
    const C1: f64 = (0.01 * 2.0) * (0.01 * 2.0);
    const C2: f64 = (0.03 * 2.0) * (0.03 * 2.0);
    let (rows, cols) = a.dim();
    if rows < WINDOW || cols < WINDOW {
        return 1.0;
    }
    let n = (WINDOW * WINDOW) as f64;
    // Sums of a, b, aa, bb, ab over the window's rows, per column; moved down by one row at a time.
    let moments = |r: usize, c: usize| {
        let (u, v) = (f64::from(a[[r, c]]), f64::from(b[[r, c]]));
        [u, v, u * u, v * v, u * v]
    };
    let (mut sum, mut count) = (0.0, 0usize);
    for top in 0..=rows - WINDOW {
        let columns: Vec<[f64; 5]> = (0..cols)
            .map(|c| {
                (top..top + WINDOW).fold([0.0; 5], |total, r| {
                    let m = moments(r, c);
                    std::array::from_fn(|k| total[k] + m[k])
                })
            })
            .collect();
        for window in columns.windows(WINDOW) {
            let total: [f64; 5] = std::array::from_fn(|k| window.iter().map(|m| m[k]).sum::<f64>());
            let [ua, ub, uaa, ubb, uab] = total.map(|v| v / n);
            let sample = n / (n - 1.0);
            let (va, vb, vab) =
                (sample * (uaa - ua * ua), sample * (ubb - ub * ub), sample * (uab - ua * ub));
            let luminance = (2.0 * ua * ub + C1) / (ua * ua + ub * ub + C1);
            sum += luminance * (2.0 * vab + C2) / (va + vb + C2);
            count += 1;
        }
    }
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array4, arr1};

    fn data(name: &str) -> Vec<u8> {
        std::fs::read(minicube::testing::own_file("tests/data").join(name)).unwrap()
    }

    fn json(name: &str) -> serde_json::Value {
        serde_json::from_slice(&data(name)).unwrap()
    }

    /// The stored arrays are `[y, x, band, time]` and `[y, x, time]`.
    fn cube(file: &safetensors::SafeTensors<'_>, name: &str) -> Array4<f32> {
        let view = file.tensor(name).unwrap();
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect::<Vec<_>>();
        let shape: [usize; 4] = view.shape().try_into().unwrap();
        Array4::from_shape_vec(shape, values).unwrap().permuted_axes([3, 2, 0, 1]).to_owned()
    }

    fn mask(file: &safetensors::SafeTensors<'_>, name: &str) -> Array3<f32> {
        let view = file.tensor(name).unwrap();
        let shape: [usize; 3] = view.shape().try_into().unwrap();
        let values = view.data().iter().map(|&b| f32::from(b)).collect();
        Array3::from_shape_vec(shape, values).unwrap().permuted_axes([2, 0, 1]).to_owned()
    }

    #[test]
    fn components_match_the_reference_package() {
        let bytes = data("ens_cubes.safetensors");
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let expected = json("ens.json");
        let (p, y) = (cube(&file, "full_valid/pred"), cube(&file, "full_valid/targ"));
        let ones = Array3::ones((20, 20, 20));
        let constant = |nir: f32| {
            Array4::from_shape_fn((20, 4, 20, 20), |(_, band, _, _)| if band == NIR { nir } else { 0.1 })
        };
        let cases = [
            ("full_valid", p.clone(), y.clone(), ones.clone()),
            ("clouds15", p.clone(), y.clone(), mask(&file, "clouds15/mask")),
            ("sparse", p.clone(), y.clone(), mask(&file, "sparse/mask")),
            ("ssim_threshold", p.clone(), y.clone(), mask(&file, "ssim_threshold/mask")),
            ("all_masked", p, y.clone(), Array3::zeros((20, 20, 20))),
            ("identical", y.clone(), y, ones.clone()),
            (
                "constant",
                Array4::from_elem((20, 4, 20, 20), 0.3),
                Array4::from_elem((20, 4, 20, 20), 0.2),
                ones.clone(),
            ),
            ("constant_ndvi_offset", constant(0.4), constant(0.2), ones),
            ("t40", cube(&file, "t40/pred"), cube(&file, "t40/targ"), mask(&file, "t40/mask")),
            ("t140", cube(&file, "t140/pred"), cube(&file, "t140/targ"), mask(&file, "t140/mask")),
        ];
        for (name, prediction, target, valid) in cases {
            let found = cube_components(prediction.view(), target.view(), valid.view());
            let case = &expected["cases"][name];
            let check = |component: &str, found: Option<f64>, tolerance: f64| {
                let expected = case[component].as_f64();
                let same = match (found, expected) {
                    (Some(a), Some(b)) => (a - b).abs() <= tolerance,
                    (a, b) => a == b,
                };
                assert!(same, "{name} {component}: expected {expected:?}, found {found:?}");
            };
            // Tolerances of the vectors: the package works in 32-bit floats.
            check("MAD", found.mad, 1e-6);
            check("OLS_exact", found.ols, 1e-6);
            check("EMD", found.emd, 1e-6);
            check("SSIM_after_OLS_inplace", found.ssim, 2e-5);
            check("ENS_exactOLS_single_cube", found.harmonic_mean(), 1e-5);
            if name != "constant_ndvi_offset" {
                for noisy in case["OLS_noisy_seeds0to4"].as_array().unwrap() {
                    assert!((found.ols.unwrap() - noisy.as_f64().unwrap()).abs() < 2e-4, "{name}");
                }
            }
        }
    }

    #[test]
    fn single_pixels_match_the_reference_package() {
        for row in json("ens_pixels.json").as_array().unwrap() {
            let series = |key: &str| -> Array1<f64> {
                row[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
            };
            let (p, y, m) = (series("pred"), series("targ"), series("mask").mapv(|v| v > 0.0));
            let distance = trend_distance(p.view(), y.view(), m.view());
            assert!((distance - row["ols_dist"].as_f64().unwrap()).abs() < 1e-9);
            let w1 = wasserstein(p.view(), y.view(), m.view());
            match (w1, row["w1"].as_f64()) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9),
                (a, b) => assert_eq!(a, b),
            }
        }
    }

    #[test]
    fn aggregation_takes_the_best_and_drops_zeros() {
        let aggregation = &json("ens.json")["aggregation"];
        let cubes: Vec<Vec<EnsComponents>> = aggregation["input"]
            .as_object()
            .unwrap()
            .values()
            .map(|forecasts| serde_json::from_value(forecasts.clone()).unwrap())
            .collect();
        let found = earthnet_score(&cubes);
        let expected: Vec<f64> = serde_json::from_value(aggregation["ENS_MAD_OLS_EMD_SSIM"].clone()).unwrap();
        let c = found.components;
        for (a, b) in [found.ens, c.mad, c.ols, c.emd, c.ssim].into_iter().zip(expected) {
            assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        }
    }

    #[test]
    fn wasserstein_of_a_shift_is_the_shift() {
        // {0, 1} against {2, 3}: every unit of mass moves by 2.
        let all = arr1(&[true, true]);
        let distance = wasserstein(arr1(&[0.0, 1.0]).view(), arr1(&[2.0, 3.0]).view(), all.view());
        assert_eq!(distance, Some(2.0));
    }
}
