//! Several values a day to one: mean, sum, minimum, maximum.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// How the values of a day become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduce {
    /// Mean of the values that are there.
    Mean,
    /// Sum, of complete days only.
    Sum,
    /// Rate integrated over the day, of complete days only: the mean times 86 400 s.
    Integral,
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
            Reduce::Sum | Reduce::Integral => "time: sum",
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

    /// Adds the values of one instant, one a cell; NaN and infinities count as absent.
    pub fn push(&mut self, values: &[f64]) {
        for (cell, &value) in self.cells.iter_mut().zip(values).filter(|(_, value)| value.is_finite()) {
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
                Reduce::Sum | Reduce::Integral if cell.count < expected => f64::NAN,
                Reduce::Sum => cell.sum,
                Reduce::Integral => cell.sum / f64::from(cell.count) * DAY_S,
                Reduce::Min => cell.min,
                Reduce::Max => cell.max,
            })
            .map(|value| value as f32)
            .collect()
    }
}

/// Units of a rate integrated over a day: `kg m-2 s-1` becomes `kg m-2`, `W m-2` becomes `J m-2`.
///
/// # Errors
/// The reason, in words, if the units are not those of a rate.
pub(crate) fn daily_units(units: &str) -> Result<String, String> {
    let units = units.trim();
    let per_second = [" s-1", " s**-1", " s^-1", "/s"].iter().find_map(|end| units.strip_suffix(end));
    let of_power =
        || Some(format!("J{}", units.strip_prefix('W').filter(|rest| rest.starts_with([' ', '/']))?));
    per_second.map(str::to_owned).or_else(of_power).ok_or_else(|| {
        format!("reduce = \"integral\" expects a rate, in units such as kg m-2 s-1 or W m-2, found `{units}`")
    })
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
        // 4.5 a second for a day of 86 400 s.
        assert_eq!(show(Reduce::Integral)[0], 388_800.0);
        assert!(show(Reduce::Integral)[1].is_nan() && show(Reduce::Integral)[2].is_nan());
    }

    #[test]
    fn infinities_are_absent() {
        let mut day = Day::new(1);
        for value in [f64::INFINITY, 1.0, f64::NEG_INFINITY, 3.0] {
            day.push(&[value]);
        }
        assert_eq!([Reduce::Mean, Reduce::Min, Reduce::Max].map(|r| day.finish(r, 4)[0]), [2.0, 1.0, 3.0]);
        assert!(day.finish(Reduce::Sum, 4)[0].is_nan(), "two of four are missing");
    }

    #[test]
    fn a_rate_loses_its_second() {
        for (rate, total) in [
            ("kg m-2 s-1", "kg m-2"),
            ("kg m**-2 s**-1", "kg m**-2"),
            ("mm/s", "mm"),
            ("W m-2", "J m-2"),
            ("W/m2", "J/m2"),
        ] {
            assert_eq!(daily_units(rate).unwrap(), total);
        }
        for other in ["m", "K", "", "Wh m-2"] {
            assert!(daily_units(other).unwrap_err().contains(&format!("`{other}`")));
        }
    }
}
