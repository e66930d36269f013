//! Events along time, one row a place.

use chrono::Datelike;

use super::page::escape;
use super::svg::{MARGIN, sheet};
use crate::from_cf_day;

const WIDTH: usize = 900;
const ROW: usize = 22;
const LEFT: usize = 90;
const TOP: usize = 64;

/// One mark of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// CF day.
    pub day: i32,
    /// Index of its class.
    pub class: usize,
    /// What is shown when the pointer is on it.
    pub text: String,
}

/// Draws a row of marks for each place. `classes` are names and CSS colours, in the order of the legend; of marks on
/// one day the one of the higher class lies on top.
#[must_use]
pub fn timeline(title: &str, classes: &[(&str, &str)], rows: &[(String, Vec<Event>)]) -> String {
    let days = || rows.iter().flat_map(|(_, events)| events).map(|event| event.day);
    let (first, last) = (days().min().unwrap_or(0), days().max().unwrap_or(0));
    let height = TOP + rows.len() * ROW + 30;
    let scale = (WIDTH - LEFT - MARGIN - 6) as f64 / f64::from((last - first).max(1));
    let x = |day: i32| LEFT as f64 + f64::from(day - first) * scale;
    let mark = (scale * 0.8).clamp(1.5, 6.0);
    let mut svg = sheet(title, (WIDTH, height));
    let mut at = MARGIN;
    for (name, color) in classes {
        svg.push_str(&format!(
            "<rect x=\"{at}\" y=\"34\" width=\"10\" height=\"12\" fill=\"{color}\"/><text x=\"{}\" y=\"44\">{}</text>\n",
            at + 15,
            escape(name)
        ));
        at += 34 + name.chars().count() * 7;
    }
    let bottom = TOP + rows.len() * ROW;
    for (day, label) in ticks(first, last) {
        let x = x(day);
        svg.push_str(&format!(
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
            bottom + 18
        ));
    }
    for (row, (label, events)) in rows.iter().enumerate() {
        let y = TOP + row * ROW;
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8,
            y + 15,
            escape(label)
        ));
        for (class, (_, color)) in classes.iter().enumerate() {
            for event in events.iter().filter(|event| event.class == class) {
                svg.push_str(&format!(
                    "<rect x=\"{:.1}\" y=\"{}\" width=\"{mark:.1}\" height=\"{}\" fill=\"{color}\"><title>{} {}</title></rect>\n",
                    x(event.day) - mark / 2.0,
                    y + 3,
                    ROW - 6,
                    from_cf_day(event.day),
                    escape(&event.text)
                ));
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Months for up to two years, quarters for up to six, else years: CF day and label.
fn ticks(first: i32, last: i32) -> Vec<(i32, String)> {
    let months = match last - first {
        span if span <= 190 => 1,
        span if span <= 800 => 3,
        span if span <= 2200 => 6,
        _ => 12,
    };
    let starts = (first..=last).map(|day| (day, from_cf_day(day))).filter(|(_, date)| date.day() == 1);
    starts
        .filter(|(_, date)| date.month0() % months == 0)
        .map(|(day, date)| (day, date.format("%b %Y").to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NaiveDate, to_cf_day};

    fn day(y: i32, m: u32, d: u32) -> i32 {
        to_cf_day(NaiveDate::from_ymd_opt(y, m, d).unwrap())
    }

    /// From 1 January to 10 April 2021 are 99 days on 794 pixels: the last mark is at 90 + 794 = 884, and as a day is
    /// 8.02 pixels wide, marks are 6.
    #[test]
    fn marks_stand_at_their_days() {
        let event = |day: i32, class: usize, text: &str| Event { day, class, text: text.into() };
        let rows = vec![
            ("35KMQ".to_owned(), vec![event(day(2021, 1, 1), 0, "a<b"), event(day(2021, 4, 10), 1, "lost")]),
            ("32UPB".to_owned(), vec![]),
        ];
        let svg = timeline("Scenes", &[("whole", "#0a0"), ("failed", "#d00")], &rows);
        assert!(svg.contains(
            "<rect x=\"87.0\" y=\"67\" width=\"6.0\" height=\"16\" fill=\"#0a0\"><title>2021-01-01 a&lt;b"
        ));
        assert!(svg.contains(
            "<rect x=\"881.0\" y=\"67\" width=\"6.0\" height=\"16\" fill=\"#d00\"><title>2021-04-10 lost"
        ));
        assert!(svg.contains(">Feb 2021<") && svg.contains(">32UPB<"));
        assert!(timeline("", &[], &[]).ends_with("</svg>"));
    }

    #[test]
    fn ticks_are_few() {
        let labels = |from, to| ticks(from, to).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(
            labels(day(2020, 1, 1), day(2021, 4, 2)),
            ["Jan 2020", "Apr 2020", "Jul 2020", "Oct 2020", "Jan 2021", "Apr 2021"]
        );
        assert_eq!(labels(day(2016, 5, 1), day(2018, 12, 31)).len(), 5);
        assert_eq!(labels(day(2016, 1, 1), day(2022, 12, 31)).len(), 7);
    }
}
