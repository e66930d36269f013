//! Shared access signatures: a token from an endpoint, put behind the addresses of the storage it is for, and renewed
//! before it runs out. Planetary Computer signs this way.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::allow::Hosts;
use crate::config::Download;

/// A token is renewed when less than this share of its life is left, and at least a minute before its end where it
/// lives long enough for that.
const LAST_SHARE: i32 = 3;
const LAST_MINUTE_S: i64 = 60;

/// Signing for one storage.
#[derive(Clone)]
pub(crate) struct Sas {
    /// Gives tokens.
    pub(super) endpoint: Url,
    /// Whose addresses are signed.
    pub(super) hosts: Hosts,
    token: Arc<Mutex<Option<Token>>>,
}

/// A signature and its life.
#[derive(Clone)]
pub(super) struct Token {
    query: String,
    renew: DateTime<Utc>,
}

impl fmt::Debug for Sas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sas").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Sas {
    /// What the section says, or what its catalogue is known to need.
    ///
    /// # Errors
    /// The problem with the endpoint's address.
    pub(super) fn plan(section: &Download) -> Result<Option<Sas>, String> {
        let known = section.stac.contains("planetarycomputer.microsoft.com").then(|| {
            (
                "https://planetarycomputer.microsoft.com/api/sas/v1/token/{collection}".to_owned(),
                vec!["*.blob.core.windows.net".to_owned()],
            )
        });
        let given = section.sas.as_ref().map(|sas| (sas.token.clone(), sas.hosts.clone()));
        let Some((endpoint, hosts)) = given.or(known) else { return Ok(None) };
        let endpoint = endpoint.replace("{collection}", &section.collection);
        let url = Url::parse(&endpoint).ok().filter(super::credentials::is_private);
        let endpoint = url.ok_or_else(|| {
            let shown = endpoint.split('?').next().unwrap_or_default();
            format!("sas.token: expected an https address, found `{shown}`")
        })?;
        Ok(Some(Sas { endpoint, hosts: Hosts::new(&hosts), token: Arc::default() }))
    }

    /// Whether addresses like this one are signed.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        super::credentials::is_private(url) && self.hosts.allow(url)
    }

    /// A token that holds for a while, asked for by `fetch` if there is none. However many ask, one fetches.
    pub(super) async fn token<E, F>(&self, fetch: impl FnOnce(Url) -> F) -> Result<Token, E>
    where
        F: Future<Output = Result<Token, E>>,
    {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| Utc::now() < token.renew) {
            return Ok(token.clone());
        }
        let token = fetch(self.endpoint.clone()).await?;
        *held = Some(token.clone());
        Ok(token)
    }

    /// The server refused a token: the next request gets another one.
    pub(super) async fn refused(&self, token: &Token) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| held.query == token.query) {
            *held = None;
        }
    }
}

impl Token {
    /// Reads the endpoint's answer, `{"msft:expiry": …, "token": …}`.
    ///
    /// # Errors
    /// What is missing, never the token itself.
    pub(super) fn parse(answer: &[u8], now: DateTime<Utc>) -> Result<Token, String> {
        let answer: Value =
            serde_json::from_slice(answer).map_err(|_| "the answer is not JSON".to_owned())?;
        let query =
            answer["token"].as_str().ok_or("the answer has no `token`")?.trim_start_matches('?').to_owned();
        let end = answer["msft:expiry"].as_str().ok_or("the answer has no `msft:expiry`")?;
        let end =
            DateTime::parse_from_rfc3339(end).map_err(|_| "`msft:expiry` is no moment")?.with_timezone(&Utc);
        let life = (end - now).max(TimeDelta::zero());
        let spare = (life / LAST_SHARE).min(TimeDelta::seconds(LAST_MINUTE_S).max(life / (2 * LAST_SHARE)));
        Ok(Token { query, renew: end - spare })
    }

    /// The address with the signature behind it.
    pub(super) fn sign(&self, url: &Url) -> Url {
        let mut signed = url.clone();
        let query = match url.query() {
            Some(own) if !own.is_empty() => format!("{own}&{}", self.query),
            _ => self.query.clone(),
        };
        signed.set_query(Some(&query));
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2024-05-01T12:00:00Z").unwrap().with_timezone(&Utc)
    }

    #[test]
    fn a_token_is_renewed_before_it_runs_out() {
        let renew = |end: &str| {
            let answer = format!("{{\"msft:expiry\": \"{end}\", \"token\": \"se=x&sig=abc\"}}");
            (Token::parse(answer.as_bytes(), now()).unwrap().renew - now()).num_seconds()
        };
        assert_eq!(renew("2024-05-01T13:00:00Z"), 3600 - 600, "an hour: a sixth before the end");
        assert_eq!(renew("2024-05-01T12:05:00Z"), 300 - 60, "five minutes: one before the end");
        assert_eq!(renew("2024-05-01T12:01:00Z"), 60 - 20, "a minute: a third before the end");
        assert_eq!(renew("2024-05-01T11:00:00Z"), -3600, "run out already: asked for again at once");
    }

    #[test]
    fn an_address_keeps_its_own_query() {
        let token = Token { query: "se=1&sig=a%2Bb".into(), renew: now() };
        let sign = |text: &str| token.sign(&Url::parse(text).unwrap()).to_string();
        assert_eq!(sign("https://h/a.tif"), "https://h/a.tif?se=1&sig=a%2Bb");
        assert_eq!(sign("https://h/a.tif?v=2"), "https://h/a.tif?v=2&se=1&sig=a%2Bb");
    }

    #[test]
    fn answers_that_are_no_tokens_are_told_without_a_secret() {
        let wrong = |text: &str| Token::parse(text.as_bytes(), now()).err().unwrap();
        assert!(wrong("<html>").contains("JSON"));
        assert!(wrong("{\"token\": \"sig=secret\"}").contains("msft:expiry"));
        assert!(!wrong("{\"token\": \"sig=secret\", \"msft:expiry\": \"x\"}").contains("secret"));
    }
}
