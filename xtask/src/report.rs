//! Text tables and human units.

/// Prints rows under a header, numbers (every column but the first two) to the right.
pub(crate) fn print_table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&header.iter().map(|cell| (*cell).to_string()).collect::<Vec<_>>());
    println!("  {}", "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
    rows.iter().for_each(|row| line(row));
}

/// `1.5 MB`: powers of 1000, three significant digits.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => format!("{count} B"),
        (_, v) if v < 9.995 => format!("{v:.2} {}", units[unit]),
        (_, v) if v < 99.95 => format!("{v:.1} {}", units[unit]),
        (_, v) => format!("{v:.0} {}", units[unit]),
    }
}

/// `0.42 s`, `12.3 s`, `3 min 05 s`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2} s"),
        v if v < 59.95 => format!("{v:.1} s"),
        v => format!("{} min {:02} s", (v.round() as u64) / 60, (v.round() as u64) % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_536_000), "1.54 MB");
        assert_eq!(bytes(23_949_000), "23.9 MB");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(4_000_000_000), "4.00 GB");
    }

    #[test]
    fn seconds_turn_into_minutes() {
        assert_eq!(seconds(0.421), "0.42 s");
        assert_eq!(seconds(59.94), "59.9 s");
        assert_eq!(seconds(184.6), "3 min 05 s");
    }
}
