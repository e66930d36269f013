//! What one model knows more than another, by the form of the land: error by pixel, gain by geomorphon, and the
//! Kolmogorov–Smirnov test of the two distributions (the deliverable's figures 6-3 and 6-4).

/// Number of geomorphons: 1 flat … 10 pit (<https://doi.org/10.1016/j.geomorph.2012.11.005>).
pub(crate) const GEOMORPHONS: u8 = 10;

/// A one-sided test of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct KsTest {
    /// Largest excess of the second distribution function over the first.
    pub(crate) statistic: f64,
    /// Natural logarithm of the probability of such an excess where the first sample is nowhere larger.
    pub(crate) ln_p: f64,
}

impl KsTest {
    /// Tests whether the first sample is stochastically larger. The probability is exact for samples of one size, as those of
    /// the same pixels are; else it is the limit for large samples with Hodges' correction
    /// (<https://doi.org/10.1007/BF02589501>). `None` for an empty sample. NaN is not allowed.
    pub(crate) fn first_is_larger(first: &[f64], second: &[f64]) -> Option<KsTest> {
        let (first, second) = (sorted(first), sorted(second));
        let (n, m) = (first.len(), second.len());
        if n == 0 || m == 0 {
            return None;
        }
        // The excess in units of 1 / (n m), so that ties leave no rounding behind.
        let (mut i, mut j, mut most) = (0, 0, 0i128);
        while i < n || j < m {
            let at = match (first.get(i), second.get(j)) {
                (Some(a), Some(b)) => a.min(*b),
                (Some(&one), None) | (None, Some(&one)) => one,
                (None, None) => break,
            };
            i += first[i..].iter().take_while(|&&value| value == at).count();
            j += second[j..].iter().take_while(|&&value| value == at).count();
            most = most.max(j as i128 * n as i128 - i as i128 * m as i128);
        }
        let statistic = most as f64 / (n as f64 * m as f64);
        let ln_p = if n == m {
            // Paths of 2 n steps that come as far as h: (2 n over n − h) of (2 n over n).
            let h = most / n as i128;
            let (n, h) = (n as f64, h as f64);
            (1..=h as u64).map(|k| ((n - h + k as f64) / (n + k as f64)).ln()).sum()
        } else {
            let (large, small) = (n.max(m) as f64, n.min(m) as f64);
            let z = statistic * (large * small / (large + small)).sqrt();
            let correction = 2.0 * z * (large + 2.0 * small) / (large * small * (large + small)).sqrt() / 3.0;
            (-2.0 * z * z - correction).min(0.0)
        };
        Some(KsTest { statistic, ln_p })
    }

    /// Three stars for a probability below 0.001, two below 0.01, one below 0.05.
    pub(crate) fn stars(&self) -> &'static str {
        match self.ln_p {
            p if p < 0.001f64.ln() => "***",
            p if p < 0.01f64.ln() => "**",
            p if p < 0.05f64.ln() => "*",
            _ => "",
        }
    }

    /// The probability as text; one too small for a number of double precision has its power of ten.
    pub(crate) fn p_text(&self) -> String {
        let power = self.ln_p / std::f64::consts::LN_10;
        if power > -4.0 {
            return format!("{:.4}", self.ln_p.exp());
        }
        let whole = power.floor();
        format!("{:.1}e{whole}", 10f64.powf(power - whole))
    }
}

/// How much smaller the second errors are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gain {
    /// Geomorphon; 0 for all.
    pub(crate) form: u8,
    /// Pixels, or what else has errors.
    pub(crate) count: usize,
    /// Median of (1 − second / first) × 100 over them.
    pub(crate) median: f64,
    /// Whether the first errors are larger.
    pub(crate) test: KsTest,
}

/// Gains over all pixels, then by geomorphon; forms without pixels are left out. Pixels (or samples, without `forms`) where an error is not finite, or the
/// first one is 0, do not count.
pub(crate) fn gains(first: &[f64], second: &[f64], forms: &[u8]) -> Vec<Gain> {
    let usable = |i: &usize| first[*i].is_finite() && second[*i].is_finite() && first[*i] > 0.0;
    let all: Vec<usize> = (0..first.len().min(second.len())).filter(usable).collect();
    let gain = |form: u8| {
        let chosen: Vec<usize> =
            all.iter().copied().filter(|&i| form == 0 || forms.get(i) == Some(&form)).collect();
        let of = |errors: &[f64]| chosen.iter().map(|&i| errors[i]).collect::<Vec<f64>>();
        let (a, b) = (of(first), of(second));
        let gains: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (1.0 - b / a) * 100.0).collect();
        Some(Gain {
            form,
            count: chosen.len(),
            median: median(&sorted(&gains))?,
            test: KsTest::first_is_larger(&a, &b)?,
        })
    };
    (0..=GEOMORPHONS).filter_map(gain).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    Some(f64::midpoint(*sorted.get(n.checked_sub(1)? / 2)?, *sorted.get(n / 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::Golden;

    #[test]
    fn equals_scipy() {
        let golden = Golden::open("landscape");
        let (rnn, context) = (golden.f64("mae_rnn"), golden.f64("mae_ctx"));
        let near = |found: f64, expected: &serde_json::Value, tolerance: f64| {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} {expected}");
        };
        let less = KsTest::first_is_larger(&rnn, &context).unwrap();
        near(less.statistic, &golden.json["ks_rnn_vs_ctx"]["less"][0], 1e-12);
        near(less.ln_p.exp(), &golden.json["ks_rnn_vs_ctx"]["less"][1], 1e-6);
        let greater = KsTest::first_is_larger(&context, &rnn).unwrap();
        near(greater.statistic, &golden.json["ks_rnn_vs_ctx"]["greater"][0], 1e-12);
        near(greater.ln_p.exp(), &golden.json["ks_rnn_vs_ctx"]["greater"][1], 1e-6);

        let forms: Vec<u8> = golden.i32("geomorphon").into_iter().map(|form| form as u8).collect();
        let found = gains(&rnn, &context, &forms);
        near(found[0].median, &golden.json["median_gain"], 1e-12);
        assert_eq!(found.len(), 11);
        for gain in &found[1..] {
            let expected = &golden.json["per_geomorphon"][gain.form.to_string()];
            assert_eq!(gain.count as u64, expected["n"].as_u64().unwrap());
            near(gain.median, &expected["median_gain"], 1e-12);
            near(gain.test.ln_p.exp(), &expected["p_less"], 1e-6);
        }
    }

    /// Above 0.25 lie three of the five and none of the three.
    #[test]
    fn samples_of_two_sizes() {
        let test = KsTest::first_is_larger(&[0.1, 0.2, 0.3, 0.4, 0.5], &[0.05, 0.15, 0.25]).unwrap();
        assert!((test.statistic - 0.6).abs() < 1e-12);
        // z = 0.6 √(15/8), 2 z² = 1.35, correction 2 z (5 + 6) / √(15 · 8) / 3.
        let z = 0.6 * (15.0f64 / 8.0).sqrt();
        assert!((test.ln_p + 1.35 + 22.0 * z / 120.0f64.sqrt() / 3.0).abs() < 1e-12);
        assert_eq!(KsTest::first_is_larger(&[], &[1.0]), None);
    }

    #[test]
    fn probabilities_too_small_for_a_number_are_told() {
        let far: Vec<f64> = (0..1000).map(|i| f64::from(i) + 5000.0).collect();
        let near: Vec<f64> = (0..1000).map(f64::from).collect();
        let test = KsTest::first_is_larger(&far, &near).unwrap();
        // 1 of (2000 over 1000): ln = −(2000 ln 2 − ln √(1000 π)) = −1382.27, 10^−600.3.
        assert_eq!((test.statistic, test.stars()), (1.0, "***"));
        assert_eq!(test.p_text(), "4.9e-601");
        let equal = KsTest::first_is_larger(&near, &near).unwrap();
        assert_eq!((equal.statistic, equal.p_text(), equal.stars()), (0.0, "1.0000".to_owned(), ""));
    }
}
