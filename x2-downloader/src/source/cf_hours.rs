//! Time axes of others: `hours since 1900-01-01` and the like, to hours since 1900.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// Units of the time axis that ERA5 files have.
pub(crate) const HOURS: &str = "hours since 1900-01-01 00:00:00.0";
const HOUR_S: i64 = 3600;
/// Seconds from 1900-01-01 to 1970-01-01: 25 567 days.
const FROM_1900_TO_1970_S: i64 = 25_567 * 86_400;

/// Whole hours since 1900-01-01 of each value of a CF time axis.
///
/// # Errors
/// Units or a calendar that are not known here, or moments that are no whole hours.
pub(crate) fn decode(units: &str, calendar: Option<&str>, values: &[f64]) -> Result<Vec<i32>, String> {
    let known = ["standard", "gregorian", "proleptic_gregorian"];
    if let Some(other) = calendar.filter(|name| !known.contains(&name.to_lowercase().as_str())) {
        return Err(format!("calendar: expected one of {}, found `{other}`", known.join(", ")));
    }
    let start = || -> Option<(f64, i64)> {
        let (unit, moment) = units.split_once(" since ")?;
        Some((seconds_of(unit)?, moment_of(moment)?.and_utc().timestamp()))
    };
    let (unit, start) = start()
        .ok_or_else(|| format!("units: expected `hours since 1900-01-01` or the like, found `{units}`"))?;
    let hour = |value: &f64| {
        let since_1900 = start + (value * unit).round() as i64 + FROM_1900_TO_1970_S;
        let hours = (since_1900 % HOUR_S == 0).then_some(since_1900 / HOUR_S);
        hours.and_then(|hours| i32::try_from(hours).ok()).ok_or_else(|| {
            let moment = DateTime::from_timestamp(since_1900 - FROM_1900_TO_1970_S, 0).unwrap_or_default();
            format!("expected whole hours, found {moment}")
        })
    };
    values.iter().map(hour).collect()
}

/// Hours from 1900-01-01 to the beginning of a day.
pub(crate) fn hour_of(day: NaiveDate) -> i32 {
    let seconds = day.and_time(NaiveTime::MIN).and_utc().timestamp() + FROM_1900_TO_1970_S;
    i32::try_from(seconds / HOUR_S).unwrap_or(i32::MAX)
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit.trim().to_lowercase().trim_end_matches('s') {
        "second" | "sec" | "" => 1.0,
        "minute" | "min" => 60.0,
        "hour" | "hr" | "h" => 3600.0,
        "day" | "d" => 86_400.0,
        _ => return None,
    })
}

fn moment_of(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim().trim_end_matches("UTC").trim_end_matches('Z').trim_end();
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let time = time.trim().trim_end_matches("+00:00");
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(time, form).ok())?;
    Some(NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?.and_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_units_become_hours_since_1900() {
        assert_eq!(decode("hours since 1900-01-01", None, &[0.0, 1.0]).unwrap(), [0, 1]);
        assert_eq!(decode("days since 1900-01-02T12:00:00Z", Some("standard"), &[0.5]).unwrap(), [48]);
        // 25 567 days lie between the two epochs.
        assert_eq!(decode("seconds since 1970-01-01 00:00:00", None, &[7200.0]).unwrap(), [613_610]);
        assert_eq!(decode("minutes since 1900-01-01 00:30", None, &[30.0]).unwrap(), [1]);
        assert_eq!(hour_of("1970-01-01".parse().unwrap()), 613_608);
    }

    #[test]
    fn what_is_not_known_is_told() {
        for (units, calendar, value, expected) in [
            ("hours", None, 0.0, "found `hours`"),
            ("fortnights since 1900-01-01", None, 0.0, "fortnights"),
            ("hours since yesterday", None, 0.0, "yesterday"),
            ("hours since 1900-01-01", Some("360_day"), 0.0, "360_day"),
            ("minutes since 1900-01-01", None, 30.0, "1900-01-01 00:30:00 UTC"),
        ] {
            let error = decode(units, calendar, &[value]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
