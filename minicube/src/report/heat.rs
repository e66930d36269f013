//! A matrix of numbers as a picture.

use super::page::escape;
use super::raster::Ramp;
use super::svg::{MARGIN, sheet, text_width};

const CELL: (usize, usize) = (48, 24);
const LONGEST_LABEL: usize = 30;

/// Draws a matrix, e.g. the joint histogram of two classifications: `values[row][col]` from 0 up, its number in each
/// cell, darker the larger its square root, which keeps small shares apart from none. Cells that are missing or not finite stay empty.
#[must_use]
pub fn heat(title: &str, row_labels: &[String], col_labels: &[String], values: &[Vec<f64>]) -> String {
    let value = |row: usize, col: usize| {
        values.get(row).and_then(|row| row.get(col)).copied().filter(|value| value.is_finite())
    };
    let cells = || (0..row_labels.len()).flat_map(|row| (0..col_labels.len()).map(move |col| (row, col)));
    let largest = cells().filter_map(|(row, col)| value(row, col)).fold(0.0, f64::max);
    let decimals = if largest <= 1.0 {
        3
    } else if largest <= 10.0 {
        2
    } else if largest < 1000.0 {
        1
    } else {
        0
    };
    let left = MARGIN + labels_width(row_labels) + 6;
    // Labels of columns that do not fit above their cell are written upwards.
    let upwards = labels_width(col_labels) > CELL.0 - 4;
    let top = 30 + if upwards { labels_width(col_labels) + 10 } else { 24 };
    let width = (left + col_labels.len() * CELL.0 + MARGIN)
        .max(text_width(title.chars().count()) * 3 / 2 + 2 * MARGIN);
    let height = top + row_labels.len() * CELL.1 + MARGIN;
    let mut svg = sheet(title, (width, height));
    for (row, label) in row_labels.iter().enumerate() {
        let (x, y) = (left - 6, top + row * CELL.1 + CELL.1 / 2 + 4);
        svg.push_str(&format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n", shortened(label)));
    }
    for (col, label) in col_labels.iter().enumerate() {
        let (x, y) = (left + col * CELL.0 + CELL.0 / 2, top - 6);
        let place = if upwards {
            format!("transform=\"translate({} {y}) rotate(-90)\"", x + 4)
        } else {
            format!("x=\"{x}\" y=\"{y}\" text-anchor=\"middle\"")
        };
        svg.push_str(&format!("<text {place}>{}</text>\n", shortened(label)));
    }
    for (row, col) in cells() {
        let (x, y) = (left + col * CELL.0, top + row * CELL.1);
        let rect = |fill: &str| {
            let (width, height) = (CELL.0 - 1, CELL.1 - 1);
            format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"")
        };
        let Some(value) = value(row, col) else {
            svg.push_str(&format!("{}/>\n", rect("#f2f2f2")));
            continue;
        };
        let share = if largest > 0.0 { (value / largest).clamp(0.0, 1.0).sqrt() } else { 0.0 };
        let [red, green, blue] = Ramp::Blues.color(share as f32, (0.0, 1.0));
        let ink = if share > 0.62 { "#fff" } else { "#222" };
        let (x_text, y_text) = (x + CELL.0 / 2, y + CELL.1 / 2 + 4);
        svg.push_str(&format!(
            "<g><title>{} / {}: {value}</title>{}/>\
             <text x=\"{x_text}\" y=\"{y_text}\" text-anchor=\"middle\" fill=\"{ink}\">{}</text></g>\n",
            escape(&row_labels[row]),
            escape(&col_labels[col]),
            rect(&format!("rgb({red},{green},{blue})")),
            escape(&number(value, decimals))
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// With the decimals of the matrix; a value that is not 0 is not written as 0.
fn number(value: f64, decimals: usize) -> String {
    let smallest = 0.1_f64.powi(decimals as i32);
    if value == 0.0 {
        "0".to_owned()
    } else if value > 0.0 && value < smallest / 2.0 {
        format!("<{smallest:.decimals$}")
    } else {
        format!("{value:.decimals$}")
    }
}

/// About as wide as the longest label, in pixels.
fn labels_width(labels: &[String]) -> usize {
    let letters = labels.iter().map(|label| label.chars().count().min(LONGEST_LABEL)).max().unwrap_or(0);
    text_width(letters)
}

/// A label that fits, escaped.
fn shortened(label: &str) -> String {
    if label.chars().count() <= LONGEST_LABEL {
        return escape(label);
    }
    let kept: String = label.chars().take(LONGEST_LABEL - 1).collect();
    format!("{}…", escape(&kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_number_is_in_its_cell() {
        let values = [vec![60.0, 0.0, 0.01], vec![f64::NAN, 39.96]];
        let svg = heat("h", &labels(&["a", "b<"]), &labels(&["x", "y", "z&"]), &values);
        // Rows begin at 10 + 16 (two letters) + 6 = 32 pixels, columns at 30 + 24 = 54.
        assert!(svg.contains("<title>a / x: 60</title><rect x=\"32\" y=\"54\" width=\"47\" height=\"23\" fill=\"rgb(8,48,107)\"/>"));
        assert!(svg.contains("<title>b&lt; / y: 39.96</title><rect x=\"80\" y=\"78\""));
        assert!(svg.contains("fill=\"#fff\">60.0</text>"), "light on dark");
        assert!(svg.contains("fill=\"#fff\">40.0</text>"));
        assert!(svg.contains("fill=\"#222\">0</text>") && svg.contains(">&lt;0.1</text>"));
        assert_eq!(svg.matches("<title>").count(), 4, "NaN and the missing value have no number");
        assert_eq!(svg.matches("fill=\"#f2f2f2\"").count(), 2);
    }

    #[test]
    fn nothing_and_zeros_are_drawn_too() {
        assert!(heat("h", &[], &[], &[]).ends_with("</svg>"));
        assert!(heat("h", &labels(&["a"]), &labels(&["x"]), &[vec![0.0]]).contains("rgb(247,251,255)"));
    }

    #[test]
    fn long_labels_are_cut_and_stand_upright() {
        let long = "ß".repeat(40);
        let svg = heat("h", &labels(&["a"]), std::slice::from_ref(&long), &[vec![1.0]]);
        assert!(svg.contains("rotate(-90)") && svg.contains(&format!(">{}…<", "ß".repeat(29))));
        assert!(svg.contains(&format!("a / {long}: 1")), "whole in the tooltip");
    }
}
