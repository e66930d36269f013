//! Signed access as Azure and the Planetary Computer have it: a token that anyone may ask for and that runs out.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::hash::{mix, text};

/// What the token allows: to read and to list.
const PERMISSIONS: &str = "rl";

/// The answer to a request for a token: its last moment, in whole seconds rounded up, and what to append to an address.
pub(crate) fn issue(seed: u64, now: DateTime<Utc>, lifetime: Duration) -> Value {
    let end = now.timestamp_millis() + lifetime.as_millis() as i64;
    let expiry = DateTime::from_timestamp((end + 999).div_euclid(1000), 0)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let escaped: String = url::form_urlencoded::byte_serialize(expiry.as_bytes()).collect();
    let token = format!("se={escaped}&sp={PERMISSIONS}&sig={}", signature(seed, &expiry));
    json!({ "msft:expiry": expiry, "token": token })
}

/// Whether the query of an address is a token that still holds, or why not.
pub(crate) fn check(seed: u64, query: &str, now: DateTime<Utc>) -> Result<(), &'static str> {
    let field = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let (Some(expiry), Some(permissions), Some(given)) = (field("se"), field("sp"), field("sig")) else {
        return Err("the address is not signed");
    };
    if permissions != PERMISSIONS || given != signature(seed, &expiry) {
        return Err("the signature does not match");
    }
    match DateTime::parse_from_rfc3339(&expiry) {
        Ok(end) if now < end => Ok(()),
        _ => Err("the signature has expired"),
    }
}

fn signature(seed: u64, expiry: &str) -> String {
    format!("{:016x}", mix(seed, &[text("signature"), text(expiry), text(PERMISSIONS)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: &str) -> DateTime<Utc> {
        moment.parse().unwrap()
    }

    #[test]
    fn a_token_holds_until_its_expiry() {
        let answer = issue(42, at("2024-03-01T10:00:00.250Z"), Duration::from_secs(20));
        assert_eq!(answer["msft:expiry"], "2024-03-01T10:00:21Z");
        let token = answer["token"].as_str().unwrap();
        assert!(token.starts_with("se=2024-03-01T10%3A00%3A21Z&sp=rl&sig="), "{token}");
        assert_eq!(check(42, token, at("2024-03-01T10:00:20.999Z")), Ok(()));
        assert_eq!(check(42, token, at("2024-03-01T10:00:21Z")), Err("the signature has expired"));
        assert_eq!(check(43, token, at("2024-03-01T10:00:01Z")), Err("the signature does not match"));
        let stretched = token.replace("10%3A00%3A21", "10%3A00%3A41");
        assert_eq!(check(42, &stretched, at("2024-03-01T10:00:01Z")), Err("the signature does not match"));
        assert_eq!(check(42, "", at("2024-03-01T10:00:01Z")), Err("the address is not signed"));
    }
}
