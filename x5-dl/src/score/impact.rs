//! Impact of weather on vegetation in a region: how far kNDVI is from what is usual for the land cover and the time of
//! year, and how much of the vegetation is far below it.

/// What is usual: mean and standard deviation of kNDVI over the training split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usual {
    pub(crate) mean: f64,
    pub(crate) sd: f64,
}

/// A pixel is impacted where it is below the tenth percentile of what is usual: this many standard deviations.
const TENTH: f64 = -1.281_551_565_544_600_4;

/// Sums over the pixels of a region within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ImpactSums {
    pixels: u64,
    value: f64,
    expected: f64,
    z: f64,
    percentile: f64,
    impacted: u64,
}

/// How a region is in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Impact {
    /// Pixels of vegetation.
    pub(crate) pixels: u64,
    /// Mean kNDVI.
    pub(crate) kndvi: f64,
    /// Mean of what is usual.
    pub(crate) expected: f64,
    /// Their difference.
    pub(crate) anomaly: f64,
    /// Mean over the pixels of the difference in standard deviations.
    pub(crate) z: f64,
    /// Mean over the pixels of the percentile, 0 to 100, of a normal distribution of what is usual.
    pub(crate) percentile: f64,
    /// Share of the pixels, 0 to 1, that are below its tenth percentile.
    pub(crate) impacted: f64,
}

impl ImpactSums {
    /// Adds a pixel: its mean over the window, and the mean of what is usual over the same steps. Values that are not
    /// finite, and pixels that never vary, do not count.
    pub(crate) fn add(&mut self, value: f64, usual: Usual) {
        let z = (value - usual.mean) / usual.sd;
        if !z.is_finite() {
            return;
        }
        self.pixels += 1;
        self.value += value;
        self.expected += usual.mean;
        self.z += z;
        self.percentile += 50.0 * libm::erfc(-z / std::f64::consts::SQRT_2);
        self.impacted += u64::from(z < TENTH);
    }

    pub(crate) fn merge(&mut self, other: &ImpactSums) {
        self.pixels += other.pixels;
        self.value += other.value;
        self.expected += other.expected;
        self.z += other.z;
        self.percentile += other.percentile;
        self.impacted += other.impacted;
    }

    /// `None` without a pixel.
    pub(crate) fn finish(&self) -> Option<Impact> {
        let mean = |sum: f64| sum / self.pixels as f64;
        (self.pixels > 0).then(|| Impact {
            pixels: self.pixels,
            kndvi: mean(self.value),
            expected: mean(self.expected),
            anomaly: mean(self.value - self.expected),
            z: mean(self.z),
            percentile: mean(self.percentile),
            impacted: mean(self.impacted as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel as usual, one two standard deviations below: Φ(0) = .5, Φ(−2) = .02275.
    #[test]
    fn percentiles_are_those_of_the_normal_distribution() {
        let usual = Usual { mean: 0.4, sd: 0.1 };
        let mut sums = ImpactSums::default();
        assert_eq!(sums.finish(), None);
        sums.add(0.4, usual);
        let mut other = ImpactSums::default();
        other.add(0.2, usual);
        other.add(f64::NAN, usual);
        other.add(0.3, Usual { mean: 0.3, sd: 0.0 });
        sums.merge(&other);
        let found = sums.finish().unwrap();
        assert_eq!((found.pixels, found.impacted), (2, 0.5));
        for (ours, exact) in [
            (found.kndvi, 0.3),
            (found.expected, 0.4),
            (found.anomaly, -0.1),
            (found.z, -1.0),
            (found.percentile, (50.0 + 2.275_013_194_817_921) / 2.0),
        ] {
            assert!((ours - exact).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn the_tenth_percentile_is_where_it_should_be() {
        let below = |z: f64| 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
        assert!((below(TENTH) - 0.1).abs() < 1e-12);
    }
}
