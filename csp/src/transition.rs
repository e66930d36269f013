//! How a shift comes and goes over time: constant as in the paper, or one of the shapes that it plans.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Shapes of a shift over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The whole shift at every step (equation 11).
    #[default]
    Constant,
    /// Nothing before step `start`, then rising evenly: whole at the last of `steps` steps and after.
    Ramp,
    /// Whole in `steps` steps from `start` on, nothing before and after.
    Pulse,
    /// Smooth noise between nothing and whole, with a new random slope every `steps` steps.
    Perlin,
}

/// A shape with its place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transition {
    /// The shape.
    pub shape: Shape,
    /// First step of a ramp or pulse, from 0 at the first context step.
    pub start: usize,
    /// Length of a ramp or pulse, or the grid of the noise, in steps.
    pub steps: usize,
}

impl Default for Transition {
    fn default() -> Self {
        Self { shape: Shape::Constant, start: 0, steps: 5 }
    }
}

impl Transition {
    /// Name in all outputs: `constant`, `ramp 0+5`, `pulse 10+5`, `perlin 5`.
    pub fn name(self) -> String {
        let Self { start, steps, .. } = self;
        match self.shape {
            Shape::Constant => "constant".into(),
            Shape::Ramp => format!("ramp {start}+{steps}"),
            Shape::Pulse => format!("pulse {start}+{steps}"),
            Shape::Perlin => format!("perlin {steps}"),
        }
    }

    /// Share of the shift at each of `steps` steps, 0 to 1, with 1 somewhere. Noise depends on `seed` alone.
    ///
    /// # Errors
    /// What is wrong, where the shape does not fit into so many steps.
    pub fn weights(self, steps: usize, seed: u64) -> Result<Vec<f64>, String> {
        if self.shape == Shape::Constant {
            return Ok(vec![1.0; steps]);
        }
        let name = self.name();
        if self.steps == 0 || self.steps > steps {
            return Err(format!("{name}: expected 1 to {steps} `steps`, found {}", self.steps));
        }
        if self.shape != Shape::Perlin && self.start + self.steps > steps {
            return Err(format!("{name}: ends at step {}, but there are {steps}", self.start + self.steps));
        }
        let at = |t: usize| match self.shape {
            Shape::Ramp => ((t + 1).saturating_sub(self.start) as f64 / self.steps as f64).min(1.0),
            _ => f64::from(u8::from((self.start..self.start + self.steps).contains(&t))),
        };
        match self.shape {
            Shape::Perlin => Ok(noise(steps, self.steps, seed)),
            _ => Ok((0..steps).map(at).collect()),
        }
    }
}

/// Gradient noise (Perlin, doi:10.1145/325165.325247) with the quintic blend of doi:10.1145/566654.566636, stretched to
/// 0 … 1.
fn noise(steps: usize, grid: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let slopes: Vec<f64> = (0..steps / grid + 3).map(|_| rng.random_range(-1.0..1.0)).collect();
    let raw: Vec<f64> = (0..steps)
        .map(|t| {
            // Half a step off the grid, where the noise would be zero.
            let place = (t as f64 + 0.5) / grid as f64;
            let (cell, part) = (place.floor() as usize, place.fract());
            let blend = part * part * part * (part * (part * 6.0 - 15.0) + 10.0);
            let (left, right) = (slopes[cell] * part, slopes[cell + 1] * (part - 1.0));
            left + blend * (right - left)
        })
        .collect();
    let (low, high) = raw.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if high > low { raw.iter().map(|v| (v - low) / (high - low)).collect() } else { vec![1.0; steps] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: Shape, start: usize, steps: usize) -> Transition {
        Transition { shape, start, steps }
    }

    #[test]
    fn shapes_by_hand() {
        assert_eq!(Transition::default().weights(3, 1).unwrap(), [1.0; 3]);
        assert_eq!(of(Shape::Ramp, 1, 2).weights(5, 1).unwrap(), [0.0, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(of(Shape::Pulse, 1, 2).weights(5, 1).unwrap(), [0.0, 1.0, 1.0, 0.0, 0.0]);
        let late = of(Shape::Pulse, 4, 2).weights(5, 1).unwrap_err();
        assert_eq!(late, "pulse 4+2: ends at step 6, but there are 5");
        assert!(of(Shape::Perlin, 0, 0).weights(5, 1).is_err());
    }

    /// The blended noise changes by little from step to step, spans 0 to 1 and follows its seed.
    #[test]
    fn noise_is_smooth_and_seeded() {
        let weights = of(Shape::Perlin, 0, 20).weights(120, 7).unwrap();
        let steepest = weights.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
        assert!(steepest < 0.2, "{steepest}");
        assert!(weights.contains(&0.0) && weights.contains(&1.0));
        assert_eq!(weights, of(Shape::Perlin, 0, 20).weights(120, 7).unwrap());
        assert_ne!(weights, of(Shape::Perlin, 0, 20).weights(120, 8).unwrap());
    }
}
