//! What all drawings share: the sheet with its title, and how wide letters are.

use super::page::escape;

/// Space at the edges of a sheet, pixels.
pub(super) const MARGIN: usize = 10;

/// Width of a letter in the labels, pixels: that of a capital or a digit, so that ids of tiles fit.
const LETTER: f64 = 7.6;

/// A white sheet with a title; the drawing follows, and `</svg>`.
pub(super) fn sheet(title: &str, (width, height): (usize, usize)) -> String {
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"17\">{}</text>\n",
        escape(title)
    )
}

/// Width of a label, pixels, at most a little too much.
pub(super) fn text_width(letters: usize) -> usize {
    (letters as f64 * LETTER).ceil() as usize
}
