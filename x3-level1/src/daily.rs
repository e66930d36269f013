//! Several values a day to one: mean, sum, minimum, maximum.

use serde::{Deserialize, Serialize};

/// How the values of a day become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduce {
    /// Mean of the values that are there.
    Mean,
    /// Sum, of complete days only.
    Sum,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
}

impl Reduce {
    /// The CF `cell_methods` of the result.
    #[must_use]
    pub fn cell_methods(self) -> &'static str {
        match self {
            Reduce::Mean => "time: mean",
            Reduce::Sum => "time: sum",
            Reduce::Min => "time: minimum",
            Reduce::Max => "time: maximum",
        }
    }
}

/// The values of one day at a number of cells, as they come in.
#[derive(Clone, Debug)]
pub struct Day {
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    sum: f64,
    count: u32,
    min: f64,
    max: f64,
}

impl Day {
    /// A day without values yet.
    #[must_use]
    pub fn new(cells: usize) -> Day {
        let empty = Cell { sum: 0.0, count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        Day { cells: vec![empty; cells] }
    }

    /// Adds the values of one instant, one a cell; NaN counts as absent.
    pub fn push(&mut self, values: &[f64]) {
        for (cell, &value) in self.cells.iter_mut().zip(values).filter(|(_, value)| !value.is_nan()) {
            cell.sum += value;
            cell.count += 1;
            cell.min = cell.min.min(value);
            cell.max = cell.max.max(value);
        }
    }

    /// The value of each cell, NaN where there is none. A sum needs all `expected` values of the day: a total of a
    /// part of the day would be too small without a sign of it.
    #[must_use]
    pub fn finish(&self, reduce: Reduce, expected: u32) -> Vec<f32> {
        self.cells
            .iter()
            .map(|cell| match reduce {
                _ if cell.count == 0 => f64::NAN,
                Reduce::Mean => cell.sum / f64::from(cell.count),
                Reduce::Sum if cell.count < expected => f64::NAN,
                Reduce::Sum => cell.sum,
                Reduce::Min => cell.min,
                Reduce::Max => cell.max,
            })
            .map(|value| value as f32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight three-hourly values 1..8 in one cell, four of them in the other.
    #[test]
    fn a_day_of_eight_values() {
        let mut day = Day::new(3);
        for value in 1..=8 {
            let value = f64::from(value);
            day.push(&[value, if value <= 4.0 { value } else { f64::NAN }, f64::NAN]);
        }
        let show = |reduce| day.finish(reduce, 8);
        assert_eq!(show(Reduce::Mean)[..2], [4.5, 2.5]);
        assert_eq!(show(Reduce::Sum)[0], 36.0);
        assert!(show(Reduce::Sum)[1].is_nan(), "half a day has no sum");
        assert_eq!(show(Reduce::Min)[..2], [1.0, 1.0]);
        assert_eq!(show(Reduce::Max)[..2], [8.0, 4.0]);
        assert!(show(Reduce::Mean)[2].is_nan());
    }
}
