//! How the forecast of one pixel agrees with its observations.

/// Agreement of a pixel's series; NaN where it is undefined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PixelScore {
    /// Observations compared.
    pub(crate) count: usize,
    /// Nash–Sutcliffe efficiency, 1 − SSE / SST (<https://doi.org/10.1016/0022-1694(70)90255-6>).
    pub(crate) nse: f64,
    /// Root mean squared error.
    pub(crate) rmse: f64,
    /// Mean observation minus mean prediction.
    pub(crate) bias: f64,
    /// Pearson's correlation.
    pub(crate) r: f64,
    /// Standard deviation of the observations (divided by their number).
    pub(crate) spread: f64,
}

impl PixelScore {
    /// From pairs of observation and prediction.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> PixelScore {
        let count = pairs.len() as f64;
        let sum = |value: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|&(y, p)| value(y, p)).sum::<f64>();
        let (mean_y, mean_p) = (sum(&|y, _| y) / count, sum(&|_, p| p) / count);
        let sse = sum(&|y, p| (y - p) * (y - p));
        let sst = sum(&|y, _| (y - mean_y) * (y - mean_y));
        let spp = sum(&|_, p| (p - mean_p) * (p - mean_p));
        let syp = sum(&|y, p| (y - mean_y) * (p - mean_p));
        PixelScore {
            count: pairs.len(),
            nse: 1.0 - sse / sst,
            rmse: (sse / count).sqrt(),
            bias: mean_y - mean_p,
            r: if pairs.len() > 1 { syp / (sst * spp).sqrt() } else { f64::NAN },
            spread: (sst / count).sqrt(),
        }
    }

    /// The efficiency squeezed into 0 … 1: 1 / (2 − NSE).
    pub(crate) fn nnse(&self) -> f64 {
        1.0 / (2.0 - self.nse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observations 1, 2, 3 and predictions 1, 3, 3: SSE 1, SST 2.
    #[test]
    fn a_series_by_hand() {
        let score = PixelScore::of(&[(1.0, 1.0), (2.0, 3.0), (3.0, 3.0)]);
        assert!((score.nse - 0.5).abs() < 1e-12 && (score.nnse() - 2.0 / 3.0).abs() < 1e-12);
        assert!((score.rmse - (1.0f64 / 3.0).sqrt()).abs() < 1e-12 && (score.bias + 1.0 / 3.0).abs() < 1e-12);
        assert!((score.r - 2.0 / (2.0f64 * 8.0 / 3.0).sqrt()).abs() < 1e-12);
        assert!((score.spread - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_said_is_nan() {
        let none = PixelScore::of(&[]);
        assert!(none.count == 0 && none.nse.is_nan() && none.rmse.is_nan() && none.r.is_nan());
        // One observation: nothing to explain, and it was not met.
        let one = PixelScore::of(&[(0.4, 0.5)]);
        assert!(one.nse == f64::NEG_INFINITY && one.nnse() == 0.0 && one.r.is_nan());
    }
}
