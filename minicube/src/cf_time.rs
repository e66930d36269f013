//! CF time axes of files that are not ours: `hours since 1900-01-01`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// Seconds since 1970-01-01 UTC of each value of a CF time axis.
///
/// # Errors
/// The reason, in words, for units or a calendar that it does not know.
pub fn decode_times(units: &str, calendar: Option<&str>, values: &[f64]) -> Result<Vec<i64>, String> {
    if let Some(calendar) = calendar
        && !["standard", "gregorian", "proleptic_gregorian"].contains(&calendar.to_lowercase().as_str())
    {
        return Err(format!("expected calendar standard or proleptic_gregorian, found `{calendar}`"));
    }
    let unknown = || format!("expected time units like `hours since 1900-01-01 00:00:00`, found `{units}`");
    let (unit, reference) = units.split_once(" since ").ok_or_else(unknown)?;
    let seconds = match unit.trim().to_lowercase().as_str() {
        "second" | "seconds" | "s" => 1.0,
        "minute" | "minutes" | "min" => 60.0,
        "hour" | "hours" | "h" | "hr" => 3_600.0,
        "day" | "days" | "d" => 86_400.0,
        _ => return Err(unknown()),
    };
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("expected a number for each time, found {value}"));
    }
    let start = parse_reference(reference).ok_or_else(unknown)?.and_utc().timestamp();
    Ok(values.iter().map(|value| start + (value * seconds).round() as i64).collect())
}

fn parse_reference(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim().trim_end_matches("UTC").trim_end_matches('Z').trim();
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let time = time.trim().trim_end_matches("+00:00");
    let time = if time.is_empty() {
        NaiveTime::MIN
    } else {
        ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(time, format).ok())?
    };
    Some(date.and_time(time))
}

/// The CF day that a second since 1970 falls in.
#[must_use]
pub fn day_of_second(second: i64) -> i32 {
    let date = DateTime::from_timestamp(second, 0).unwrap_or_default().date_naive();
    crate::to_cf_day(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_the_wild() {
        // 1900-01-01 is 25 567 days before 1970-01-01.
        assert_eq!(
            decode_times("hours since 1900-01-01 00:00:00.0", None, &[25_567.0 * 24.0 + 1.0]).unwrap(),
            [3600]
        );
        assert_eq!(
            decode_times("seconds since 1970-01-01", Some("proleptic_gregorian"), &[5.0]).unwrap(),
            [5]
        );
        assert_eq!(decode_times("days since 1970-01-02T12:00:00Z", None, &[0.5]).unwrap(), [2 * 86_400]);
        assert_eq!(decode_times("minutes since 1970-01-01 00:01", None, &[1.0]).unwrap(), [120]);
        for wrong in ["hours", "fortnights since 1970-01-01", "hours since yesterday"] {
            assert!(decode_times(wrong, None, &[0.0]).unwrap_err().contains(wrong), "{wrong}");
        }
        assert!(
            decode_times("days since 1970-01-01", None, &[0.0, f64::NAN]).unwrap_err().contains("found NaN")
        );
        assert!(
            decode_times("days since 1970-01-01", Some("360_day"), &[0.0]).unwrap_err().contains("360_day")
        );
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(
            (day_of_second(0), day_of_second(86_399), day_of_second(86_400), day_of_second(-1)),
            (0, 0, 1, -1)
        );
    }
}
