//! What there is in each month, one row a place.

use std::collections::BTreeMap;

use chrono::Datelike;

use super::page::escape;
use super::raster::Ramp;
use super::svg::{MARGIN, sheet, text_width};
use crate::from_cf_day;

const WIDTH: usize = 900;
const ROW: usize = 20;
const TOP: usize = 84;

/// Months since January of the year 0.
pub type Month = i32;

/// The month of a CF day.
#[must_use]
pub fn month_of(day: i32) -> Month {
    let date = from_cf_day(day);
    date.year() * 12 + date.month0() as i32
}

/// Draws a share (0 to 1) of each month for each row, darker the larger; a month that a row lacks stays grey. `what` says
/// what it is the share of.
#[must_use]
pub fn calendar(title: &str, what: &str, rows: &[(String, BTreeMap<Month, f64>)]) -> String {
    let months = || rows.iter().flat_map(|(_, months)| months.keys().copied());
    let (first, last) = (months().min().unwrap_or(0), months().max().unwrap_or(0));
    let longest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let left = MARGIN + text_width(longest) + 6;
    let count = (last - first + 1) as usize;
    let cell = (WIDTH.saturating_sub(left + MARGIN) / count).clamp(4, 28);
    let width = (left + count * cell + MARGIN).max(440);
    let height = TOP + rows.len() * ROW + MARGIN;
    let mut svg = sheet(title, (width, height));
    svg.push_str(&scale(what));
    for (column, month) in (first..=last).enumerate() {
        let x = left + column * cell;
        if month % 12 == 0 || column == 0 && month % 12 < 10 {
            svg.push_str(&format!("<text x=\"{x}\" y=\"{}\">{}</text>\n", TOP - 20, month / 12));
        }
        if cell >= 12 {
            let letter = "JFMAMJJASOND".chars().nth((month % 12) as usize).unwrap_or(' ');
            svg.push_str(&format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\" fill=\"#666\">{letter}</text>\n",
                x + cell / 2,
                TOP - 5
            ));
        }
    }
    for (row, (label, values)) in rows.iter().enumerate() {
        let y = TOP + row * ROW;
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            left - 6,
            y + 14,
            escape(label)
        ));
        for (column, month) in (first..=last).enumerate() {
            let value = values.get(&month).copied().unwrap_or(f64::NAN);
            let [r, g, b] = color(value);
            let (year, of_year) = (month / 12, month % 12 + 1);
            let said =
                if value.is_finite() { format!("{:.0} %", 100.0 * value) } else { "nothing".to_owned() };
            svg.push_str(&format!(
                "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"rgb({r},{g},{b})\">\
                 <title>{} {year}-{of_year:02}: {said}</title></rect>\n",
                left + column * cell,
                cell - 1,
                ROW - 2,
                escape(label)
            ));
        }
    }
    svg.push_str("</svg>");
    svg
}

fn color(share: f64) -> [u8; 3] {
    Ramp::Blues.color(share as f32, (0.0, 1.0))
}

/// The colours of 0 to 100 % and of no value.
fn scale(what: &str) -> String {
    let mut text = String::from("<text x=\"10\" y=\"40\">0 %</text>");
    for i in 0..=10 {
        let [r, g, b] = color(f64::from(i) / 10.0);
        text.push_str(&format!(
            "<rect x=\"{}\" y=\"30\" width=\"10\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>",
            36 + 10 * i
        ));
    }
    let [r, g, b] = color(f64::NAN);
    text.push_str(&format!(
        "<text x=\"152\" y=\"40\">100 % {}</text><rect x=\"{}\" y=\"30\" width=\"12\" height=\"12\" \
         fill=\"rgb({r},{g},{b})\"/><text x=\"{}\" y=\"40\">nothing</text>\n",
        escape(what),
        208 + what.chars().count() * 7,
        225 + what.chars().count() * 7,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NaiveDate, to_cf_day};

    fn month(year: i32, month: u32) -> Month {
        month_of(to_cf_day(NaiveDate::from_ymd_opt(year, month, 15).unwrap()))
    }

    #[test]
    fn months_count_on_over_the_year() {
        assert_eq!(month(2021, 1), 24252);
        assert_eq!(month(2021, 1) - month(2020, 12), 1);
    }

    /// Ten months in cells of 28 pixels, the first at 10 + 16 + 6 = 32: March 2021 is the fourth.
    #[test]
    fn every_month_has_its_cell() {
        let rows = vec![
            ("a<".to_owned(), BTreeMap::from([(month(2020, 12), 1.0), (month(2021, 9), 0.0)])),
            ("b".to_owned(), BTreeMap::from([(month(2021, 3), 0.5)])),
        ];
        let svg = calendar("Views", "observed", &rows);
        assert!(svg.contains("<rect x=\"32\" y=\"84\" width=\"27\" height=\"18\" fill=\"rgb(8,48,107)\"><title>a&lt; 2020-12: 100 %"));
        assert!(svg.contains("<rect x=\"116\" y=\"104\" width=\"27\" height=\"18\""), "{svg}");
        assert!(svg.contains("<title>b 2021-03: 50 %") && svg.contains("<title>b 2021-04: nothing"));
        assert_eq!(svg.matches("<title>").count(), 20);
        assert!(svg.contains(">2021</text>") && !svg.contains(">2020</text>"), "too near the next year's");
        assert!(calendar("t", "w", &[]).ends_with("</svg>"));
    }
}
