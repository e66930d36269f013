//! Scores of vegetation greenness as GreenEarthNet defines them (Benson et al., CVPR 2024,
//! <https://doi.org/10.48550/arXiv.2303.16198>): pixel by pixel, then over the pixels of each land cover of a cube, over
//! cubes, over land covers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pixel::PixelScore;

/// Largest land-cover class of ESA WorldCover that counts: trees 10, shrubs 20, grass 30, crops 40.
const LAST_COVER: u8 = 40;
/// Largest class that counts for the toolkit's score, which leaves crops out.
const LAST_NATURAL: u8 = 30;
/// Gains in RMSE, NSE, R² and absolute bias above which a forecast is the better one.
const BETTER: [f64; 4] = [0.01, 0.05, 0.05, 0.01];
/// So many of them must be above.
const VOTES: usize = 3;

/// Which pixels count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Filter {
    /// Least number of observations in the target.
    pub(crate) target: usize,
    /// Least number of observations in the context.
    pub(crate) context: usize,
    /// Least standard deviation of the observations of the target.
    pub(crate) spread: f64,
}

impl Filter {
    /// That of the published scores.
    pub(crate) const PUBLISHED: Filter = Filter { target: 10, context: 3, spread: 0.1 };

    fn keeps(&self, pixel: &Pixel) -> bool {
        pixel.cover <= LAST_COVER
            && pixel.score.count >= self.target
            && pixel.in_context >= self.context
            && pixel.score.spread > self.spread
            && pixel.lowest > 0.0
            && pixel.score.nnse().is_finite()
            && pixel.score.r.is_finite()
    }
}

/// One pixel of a cube, and the reference's score of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixel {
    /// Land cover, ESA WorldCover.
    pub(crate) cover: u8,
    /// Observations in the context.
    pub(crate) in_context: usize,
    /// Lowest observation of the cube.
    pub(crate) lowest: f64,
    pub(crate) score: PixelScore,
    pub(crate) reference: Option<PixelScore>,
}

/// Means over the pixels of one land cover of a cube.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CoverScore {
    pub(crate) pixels: usize,
    nnse: f64,
    rmse: f64,
    r2: f64,
    bias: f64,
    /// Mean gains over the reference: RMSE, NSE, R², absolute bias.
    gains: Option<[f64; 4]>,
}

/// What one cube contributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CubeScore {
    /// By land cover.
    covers: BTreeMap<u8, CoverScore>,
    /// Sum and number of the normalised efficiencies of natural vegetation, for the toolkit's score.
    natural: (f64, usize),
}

/// Agreement of a forecast with the observed greenness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GreennessScore {
    /// `ndvi`, or `kndvi` for a model of kNDVI alone.
    pub index: String,
    /// Mean square of the pixels' correlations.
    pub r2: f64,
    /// Mean of the pixels' root mean squared errors.
    pub rmse: f64,
    /// 2 − 1 / mean of the normalised Nash–Sutcliffe efficiencies.
    pub nse: f64,
    /// Mean of the pixels' absolute biases.
    pub bias: f64,
    /// Share of land covers of cubes where at least three of RMSE, NSE, R² and absolute bias are clearly better than the
    /// climatology's. Absent without climatology.
    pub outperformance: Option<f64>,
    /// The toolkit's score of trees, shrubs and grass without the filter on observations; absent without such pixels.
    pub veg_score: Option<f64>,
    /// Pixels that counted, of all cubes.
    pub pixels: usize,
}

/// Scores of one cube.
pub(crate) fn cube_score(pixels: &[Pixel], filter: &Filter) -> CubeScore {
    let mut kept: BTreeMap<u8, Vec<&Pixel>> = BTreeMap::new();
    for pixel in pixels.iter().filter(|pixel| filter.keeps(pixel)) {
        kept.entry(pixel.cover).or_default().push(pixel);
    }
    let natural = pixels.iter().filter(|pixel| pixel.cover <= LAST_NATURAL).map(|pixel| pixel.score.nnse());
    let natural =
        natural.filter(|nnse| nnse.is_finite()).fold((0.0, 0), |(sum, n), nnse| (sum + nnse, n + 1));
    let covers = kept.into_iter().map(|(cover, pixels)| (cover, cover_score(&pixels)));
    CubeScore { covers: covers.collect(), natural }
}

fn cover_score(pixels: &[&Pixel]) -> CoverScore {
    let mean = |value: &dyn Fn(&Pixel) -> f64| {
        pixels.iter().map(|pixel| value(pixel)).sum::<f64>() / pixels.len() as f64
    };
    // Pixels of which the reference says nothing give no gain; where that is all of them there is none.
    let compared: Vec<(&PixelScore, &PixelScore)> =
        pixels.iter().filter_map(|pixel| Some((&pixel.score, pixel.reference.as_ref()?))).collect();
    let gain = |value: &dyn Fn(&PixelScore, &PixelScore) -> f64| {
        let gains = compared.iter().map(|&(own, other)| value(own, other)).filter(|gain| gain.is_finite());
        let (sum, count) = gains.fold((0.0, 0), |(sum, n), gain| (sum + gain, n + 1));
        sum / f64::from(count)
    };
    CoverScore {
        pixels: pixels.len(),
        nnse: mean(&|pixel| pixel.score.nnse()),
        rmse: mean(&|pixel| pixel.score.rmse),
        r2: mean(&|pixel| pixel.score.r * pixel.score.r),
        bias: mean(&|pixel| pixel.score.bias.abs()),
        gains: (!compared.is_empty()).then(|| {
            [
                gain(&|own, other| other.rmse - own.rmse),
                gain(&|own, other| 1.0 / other.nnse() - 1.0 / own.nnse()),
                gain(&|own, other| own.r * own.r - other.r * other.r),
                gain(&|own, other| other.bias.abs() - own.bias.abs()),
            ]
        }),
    }
}

/// Scores of many cubes; `None` where no pixel counts.
pub(crate) fn aggregate(index: &str, cubes: &[CubeScore]) -> Option<GreennessScore> {
    let mut covers: BTreeMap<u8, Vec<&CoverScore>> = BTreeMap::new();
    for (&cover, score) in cubes.iter().flat_map(|cube| &cube.covers) {
        covers.entry(cover).or_default().push(score);
    }
    if covers.is_empty() {
        return None;
    }
    let mean = |value: fn(&CoverScore) -> f64| {
        let of_cover = |scores: &Vec<&CoverScore>| {
            scores.iter().map(|score| value(score)).sum::<f64>() / scores.len() as f64
        };
        covers.values().map(of_cover).sum::<f64>() / covers.len() as f64
    };
    let votes: Vec<usize> = covers
        .values()
        .flatten()
        .filter_map(|score| score.gains)
        .map(|gains| gains.iter().zip(BETTER).filter(|&(&gain, least)| gain > least).count())
        .collect();
    let better = votes.iter().filter(|&&votes| votes >= VOTES).count();
    let (sum, count) =
        cubes.iter().fold((0.0, 0), |(sum, n), cube| (sum + cube.natural.0, n + cube.natural.1));
    Some(GreennessScore {
        index: index.to_owned(),
        r2: mean(|score| score.r2),
        rmse: mean(|score| score.rmse),
        nse: 2.0 - 1.0 / mean(|score| score.nnse),
        bias: mean(|score| score.bias),
        outperformance: (!votes.is_empty()).then(|| better as f64 / votes.len() as f64),
        veg_score: (count > 0).then(|| 2.0 - count as f64 / sum),
        pixels: covers.values().flatten().map(|score| score.pixels).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::Golden;

    fn pixels(golden: &Golden) -> Vec<(usize, Pixel)> {
        let (observed, valid) = (golden.f64("obs"), golden.u8("valid"));
        let (predicted, base) = (golden.f64("pred"), golden.f64("base"));
        let cover = golden.f64("landcover");
        let (frames, count) = (20, cover.len());
        let score = |p: &[f64], i: usize| {
            let pairs: Vec<(f64, f64)> = (0..frames)
                .map(|t| t * count + i)
                .filter(|&at| valid[at] > 0)
                .map(|at| (observed[at], p[at]))
                .collect();
            PixelScore::of(&pairs)
        };
        (0..count)
            .map(|i| {
                let pixel = Pixel {
                    cover: cover[i] as u8,
                    in_context: 3,
                    lowest: 0.1,
                    score: score(&predicted, i),
                    reference: Some(score(&base, i)),
                };
                (i, pixel)
            })
            .collect()
    }

    #[test]
    fn pixels_equal_numpy() {
        let golden = Golden::open("vegscores");
        for (i, pixel) in pixels(&golden) {
            let near = |name: &str, found: f64| {
                let expected = golden.f64(name)[i];
                let same = (found - expected).abs() < 1e-10 || found.is_nan() && expected.is_nan();
                assert!(same, "{name} of pixel {i}: {found} {expected}");
            };
            near("pix_nnse", pixel.score.nnse());
            near("pix_rmse", pixel.score.rmse);
            near("pix_bias", pixel.score.bias);
            near("pix_sigma", pixel.score.spread);
            if pixel.score.spread > 1e-9 {
                near("pix_r", pixel.score.r);
                near("pix_nse", pixel.score.nse);
            }
        }
    }

    #[test]
    fn aggregates_equal_the_published_way() {
        let golden = Golden::open("vegscores");
        let filter = Filter { spread: 0.05, ..Filter::PUBLISHED };
        let all: Vec<Pixel> = pixels(&golden).into_iter().map(|(_, pixel)| pixel).collect();
        let cube = cube_score(&all, &filter);
        let near = |found: f64, expected: &serde_json::Value| {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        };
        for (&cover, score) in &cube.covers {
            let expected = &golden.json["per_landcover"][cover.to_string()];
            assert_eq!(score.pixels as u64, expected["n"].as_u64().unwrap());
            near(score.nnse, &expected["nnse"]);
            near(score.rmse, &expected["rmse"]);
            near(score.r2, &expected["R2"]);
            near(score.bias, &expected["biasabs"]);
            for (gain, name) in score.gains.unwrap().into_iter().zip(["rmse", "nse", "R2", "biasabs"]) {
                near(gain, &expected[format!("gain_{name}")]);
            }
        }
        let score = aggregate("ndvi", &[cube]).unwrap();
        near(score.nse, &golden.json["nse"]);
        near(score.rmse, &golden.json["rmse"]);
        near(score.r2, &golden.json["R2"]);
        near(score.outperformance.unwrap(), &golden.json["outperformance"]);
        near(score.veg_score.unwrap(), &golden.json["veg_score_lc_le_30"]);
    }

    /// Two cubes with one land cover each, one with two pixels: the mean is over land covers, not over pixels.
    #[test]
    fn every_land_cover_counts_once() {
        let pixel = |cover: u8, rmse: f64| Pixel {
            cover,
            in_context: 3,
            lowest: 0.2,
            score: PixelScore { count: 10, nse: 0.0, rmse, bias: 0.0, r: 1.0, spread: 0.2 },
            reference: None,
        };
        let one = cube_score(&[pixel(10, 0.1), pixel(10, 0.3)], &Filter::PUBLISHED);
        let two = cube_score(&[pixel(30, 0.6), pixel(50, 9.0)], &Filter::PUBLISHED);
        let score = aggregate("ndvi", &[one, two]).unwrap();
        assert!((score.rmse - 0.4).abs() < 1e-12 && score.pixels == 3);
        assert_eq!(score.outperformance, None);
        assert_eq!(aggregate("ndvi", &[CubeScore::default()]), None);
    }
}
