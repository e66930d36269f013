//! A table of numbers as a picture: darker is more.

use super::page::escape;
use super::raster::Ramp;

const CELL_WIDTH: usize = 46;
const CELL_HEIGHT: usize = 22;
/// Room for the names of the columns, which are written upwards.
const HEAD: usize = 120;
const LETTER: usize = 7;

/// Draws `values[row][column]` with its number in every cell; NaN stays empty. As SVG.
#[must_use]
pub fn heat(title: &str, rows: &[String], cols: &[String], values: &[Vec<f64>]) -> String {
    let left = 20 + LETTER * rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let (width, height) = (left + CELL_WIDTH * cols.len() + 10, HEAD + CELL_HEIGHT * rows.len() + 10);
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let most = finite().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"8\" y=\"18\" font-size=\"15\">{}</text>",
        escape(title)
    );
    for (col, name) in cols.iter().enumerate() {
        let x = left + CELL_WIDTH * col + CELL_WIDTH / 2 + 4;
        let (y, name) = (HEAD - 6, escape(name));
        svg.push_str(&format!("<text x=\"{x}\" y=\"{y}\" transform=\"rotate(-55 {x} {y})\">{name}</text>"));
    }
    for (row, name) in rows.iter().enumerate() {
        let (x, y) = (left - 8, HEAD + CELL_HEIGHT * row + 15);
        svg.push_str(&format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>", escape(name)));
        let cells = values.get(row).into_iter().flatten().enumerate();
        for (col, &value) in cells.filter(|(_, value)| value.is_finite()) {
            // The square root keeps small shares apart from none.
            let share = (value / most).max(0.0).sqrt();
            let [r, g, b] = Ramp::Blues.color(share as f32, (0.0, 1.0));
            let (x, top) = (left + CELL_WIDTH * col, HEAD + CELL_HEIGHT * row);
            let ink = if share > 0.62 { "#fff" } else { "#222" };
            svg.push_str(&format!(
                "<rect x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"rgb({r},{g},{b})\"/>\
                 <text x=\"{}\" y=\"{y}\" text-anchor=\"middle\" fill=\"{ink}\">{}</text>",
                CELL_WIDTH - 1,
                CELL_HEIGHT - 1,
                x + CELL_WIDTH / 2,
                short(value)
            ));
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Three digits at most.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_has_a_cell_with_its_number() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let values = vec![vec![12.345, f64::NAN], vec![0.0, 0.5]];
        let svg = heat("a < b", &names(&["x", "y"]), &names(&["p & q", "r"]), &values);
        assert_eq!(svg.matches("<rect x=").count(), 3);
        for part in ["a &lt; b", "p &amp; q", ">12.3<", ">0<", ">0.50<"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
