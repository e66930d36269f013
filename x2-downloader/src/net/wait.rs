//! How long to wait before another try.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

const FIRST_PAUSE_S: f64 = 0.25;
const LONGEST_PAUSE_S: f64 = 30.0;
const LONGEST_RETRY_AFTER_S: u64 = 300;

/// Pauses that differ, so that clients do not come back together.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    jitter: RandomState,
    drawn: AtomicU64,
}

impl Pauses {
    /// Doubling from a quarter of a second, between half and all of it.
    pub(super) fn draw(&self, tries: u32) -> Duration {
        let full = (FIRST_PAUSE_S * f64::from(tries.saturating_sub(1)).exp2()).min(LONGEST_PAUSE_S);
        let draw = self.jitter.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed)) % 1024;
        Duration::from_secs_f64(full * (0.5 + draw as f64 / 2048.0))
    }
}

/// The pause that a server asks for, in seconds or until a moment.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let moment = DateTime::parse_from_rfc2822(text).ok()?;
            u64::try_from((moment.with_timezone(&Utc) - Utc::now()).num_seconds()).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_within_half_to_all() {
        let pauses = Pauses::default();
        for (tries, full) in [(1, 0.25), (2, 0.5), (5, 4.0), (40, 30.0)] {
            let pause = pauses.draw(tries).as_secs_f64();
            assert!((full / 2.0..=full).contains(&pause), "{tries}: {pause}");
        }
    }

    #[test]
    fn servers_ask_in_seconds_or_by_a_moment() {
        let asked = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "a moment in the past");
        assert_eq!(asked("999999"), Some(Duration::from_secs(LONGEST_RETRY_AFTER_S)));
        assert_eq!(asked("soon"), None);
    }
}
