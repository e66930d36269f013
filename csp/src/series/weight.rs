//! The three number systems in which the same alignment recursion is run.
//!
//! An alignment recursion only needs "join three alternatives" and "follow one by another". With minimum and
//! sum it gives DTW; with sum and product of `exp(-cost/gamma)` it gives soft-DTW without a single logarithm in
//! the inner loop (the log of the total is taken once, at the end).

use super::lanes::Lanes;

/// A number system for alignments: alternatives are joined, consecutive steps are chained.
pub(super) trait Weight: Copy {
    /// No alignment at all.
    const NONE: Self;
    /// The empty alignment.
    const EMPTY: Self;
    /// Weight of one matched pair of points, from its cost divided by gamma.
    fn of_cost(cost: Lanes) -> Self;
    /// Any of the three.
    fn join(self, b: Self, c: Self) -> Self;
    /// One followed by the other.
    fn chain(self, next: Self) -> Self;
}

/// A [`Weight`] whose alternatives are shared out by probability, which is what a gradient needs.
pub(super) trait Soft: Weight {
    /// `w` with `self.chain(w)` the empty alignment.
    fn inverse(self) -> Self;
    /// As an ordinary number, for weights that are shares of a total.
    fn share(self) -> Lanes;
    /// Natural logarithm.
    fn ln(self) -> Lanes;
}

/// Minimum and sum: hard DTW, gamma = 1.
#[derive(Clone, Copy)]
pub(super) struct Shortest(pub(super) Lanes);

impl Weight for Shortest {
    const NONE: Self = Self(Lanes([f64::INFINITY; super::lanes::LANES]));
    const EMPTY: Self = Self(Lanes([0.0; super::lanes::LANES]));

    #[inline(always)]
    fn of_cost(cost: Lanes) -> Self {
        Self(cost)
    }
    #[inline(always)]
    fn join(self, b: Self, c: Self) -> Self {
        Self(self.0.min(b.0).min(c.0))
    }
    #[inline(always)]
    fn chain(self, next: Self) -> Self {
        Self(self.0.add(next.0))
    }
}

/// Plain `exp(-cost/gamma)`: the fast one, while no total can leave the range of a double.
#[derive(Clone, Copy)]
pub(super) struct Narrow(Lanes);

/// Largest total exponent, up or down, that [`Narrow`] may be given.
pub(super) const NARROW_RANGE: f64 = 300.0;

impl Weight for Narrow {
    const NONE: Self = Self(Lanes([0.0; super::lanes::LANES]));
    const EMPTY: Self = Self(Lanes([1.0; super::lanes::LANES]));

    #[inline(always)]
    fn of_cost(cost: Lanes) -> Self {
        let (mantissa, power) = Lanes::splat(0.0).sub(cost).exp_parts();
        Self(mantissa.mul(power.exp2_integer()))
    }
    #[inline(always)]
    fn join(self, b: Self, c: Self) -> Self {
        Self(self.0.add(b.0).add(c.0))
    }
    #[inline(always)]
    fn chain(self, next: Self) -> Self {
        Self(self.0.mul(next.0))
    }
}

impl Soft for Narrow {
    #[inline(always)]
    fn inverse(self) -> Self {
        Self(Lanes::splat(1.0).div(self.0))
    }
    #[inline(always)]
    fn share(self) -> Lanes {
        self.0
    }
    #[inline(always)]
    fn ln(self) -> Lanes {
        Lanes(self.0.0.map(f64::ln))
    }
}

/// `mantissa · 2^power` with its own exponent: any gamma, any length.
#[derive(Clone, Copy)]
pub(super) struct Wide {
    mantissa: Lanes,
    power: Lanes,
}

impl Weight for Wide {
    const NONE: Self =
        Self { mantissa: Lanes([1.0; super::lanes::LANES]), power: Lanes([-1e15; super::lanes::LANES]) };
    const EMPTY: Self =
        Self { mantissa: Lanes([1.0; super::lanes::LANES]), power: Lanes([0.0; super::lanes::LANES]) };

    #[inline(always)]
    fn of_cost(cost: Lanes) -> Self {
        let (mantissa, power) = Lanes::splat(0.0).sub(cost).exp_parts();
        Self { mantissa, power }
    }
    #[inline(always)]
    fn join(self, b: Self, c: Self) -> Self {
        let top = self.power.max(b.power).max(c.power);
        let scaled = |w: Self| w.mantissa.mul(w.power.sub(top).exp2_integer());
        let (mantissa, power) = scaled(self).add(scaled(b)).add(scaled(c)).split_exponent();
        Self { mantissa, power: power.add(top) }
    }
    #[inline(always)]
    fn chain(self, next: Self) -> Self {
        Self { mantissa: self.mantissa.mul(next.mantissa), power: self.power.add(next.power) }
    }
}

impl Soft for Wide {
    #[inline(always)]
    fn inverse(self) -> Self {
        let power = Lanes::splat(0.0).sub(self.power);
        Self { mantissa: Lanes::splat(1.0).div(self.mantissa), power }
    }
    #[inline(always)]
    fn share(self) -> Lanes {
        self.mantissa.mul(self.power.min(Lanes::splat(1000.0)).exp2_integer())
    }
    #[inline(always)]
    fn ln(self) -> Lanes {
        let mantissa = Lanes(self.mantissa.0.map(f64::ln));
        self.power.fma(Lanes::splat(std::f64::consts::LN_2), mantissa)
    }
}
