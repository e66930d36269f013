//! Requests that survive a bad network: retried, timed, counted, checked for length and version.

mod credentials;
mod hosts;
mod partial;
mod redirect;
mod sas;
mod traffic;
mod wait;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

pub(crate) use credentials::Credentials;
pub(crate) use hosts::Traffic;

use crate::Error;
use crate::plan::Network;
use hosts::{Host, Hosts};
use partial::PartialFile;
use redirect::next_hop;
use sas::Token;
use wait::{Pauses, retry_after};

const MAX_REDIRECTS: usize = 10;
/// Tries of one range, those that brought something included.
const MOST_TRIES: u32 = 100;
/// A document (a page of a search, a listing) beyond this is taken for an attack.
const MAX_DOCUMENT_BYTES: u64 = 256 << 20;

/// Why something was not fetched.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This one thing is missing; it goes into the ledger with the reason, and the rest goes on.
    Gap(String),
    /// As a gap, but worth another run: what was fetched of it so far is kept.
    Later(String),
    /// Nothing can go on.
    Fatal(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fatal(error)
    }
}

/// A document.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Bytes,
    pub(crate) headers: HeaderMap,
}

/// What a server said about a file of which it sent a part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// Size of the remote file, where told.
    pub(crate) total: Option<u64>,
    /// ETag of the remote file, where given.
    pub(crate) etag: Option<String>,
}

/// A whole file, fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) len: u64,
    pub(crate) sha256: String,
    pub(crate) etag: Option<String>,
}

/// The shared client.
pub(crate) struct Http {
    client: Client,
    connections: Arc<Semaphore>,
    hosts: Hosts,
    /// Bounds what has arrived and is not yet on the disk.
    pub(crate) slots: Semaphore,
    pub(crate) settings: Network,
    failures_in_a_row: AtomicUsize,
    pauses: Pauses,
    received: traffic::Received,
}

/// How one attempt failed.
enum Attempt {
    /// Never again: the answer will not change.
    Final(String),
    /// Worth another try, after the pause the server asked for.
    Again(String, Option<Duration>),
    /// The disk, not the network.
    Disk(Error),
}

/// What is asked, without the address.
struct Ask<'a> {
    method: Method,
    headers: HeaderMap,
    body: Option<&'a Value>,
    /// Longest time until the whole answer is here.
    timeout: Option<Duration>,
}

impl Http {
    /// `received` is a file in which the bytes received are counted, over all runs.
    ///
    /// # Errors
    /// [`Error::Setup`] if the client cannot be built, [`Error::Io`] if the file cannot be written.
    pub(crate) fn new(settings: &Network, received: Option<&Path>) -> Result<Http, Error> {
        let client = Client::builder()
            .user_agent(concat!("minicube-x2-downloader/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs_f64(settings.stall_s))
            .read_timeout(Duration::from_secs_f64(settings.stall_s))
            // Redirects are followed here, so that no secret follows them to another host.
            .redirect(reqwest::redirect::Policy::none())
            .cookie_store(true)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(settings.connections)
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Http {
            client,
            connections: Arc::new(Semaphore::new(settings.connections)),
            hosts: Hosts::new(settings.connections_per_host, settings.requests_per_s),
            slots: Semaphore::new(2 * settings.connections),
            settings: settings.clone(),
            failures_in_a_row: AtomicUsize::new(0),
            pauses: Pauses::default(),
            received: traffic::Received::open(received)?,
        })
    }

    /// A small document, whole.
    pub(crate) async fn get(&self, url: &Url) -> Result<Answer, Stop> {
        self.get_with(url, &[]).await
    }

    /// As [`Http::get`], with more request headers; names are lower-case.
    pub(crate) async fn get_with(&self, url: &Url, headers: &[(&'static str, &str)]) -> Result<Answer, Stop> {
        let named = headers.iter().map(|(name, value)| header(HeaderName::from_static(name), value));
        let headers = named.flatten().filter_map(|(name, value)| Some((name?, value))).collect();
        self.document(url, &Ask { method: Method::GET, headers, body: None, timeout: self.timeout() }).await
    }

    /// The answer to a JSON document.
    pub(crate) async fn post(&self, url: &Url, body: &Value) -> Result<Answer, Stop> {
        let headers = header(CONTENT_TYPE, "application/json");
        self.document(url, &Ask { method: Method::POST, headers, body: Some(body), timeout: self.timeout() })
            .await
    }

    /// The first bytes of a file, at most `len`, and whether they are all of it.
    pub(crate) async fn front(&self, url: &Url, len: u64) -> Result<(Bytes, Told), Stop> {
        self.part(url, 0..len).await
    }

    /// Bytes of a file that are held in memory. Where the file ends before the range does, fewer.
    pub(crate) async fn part(&self, url: &Url, range: Range<u64>) -> Result<(Bytes, Told), Stop> {
        let room = usize::try_from(range.end - range.start).unwrap_or(0);
        let mut bytes = Vec::with_capacity(room);
        let told = self
            .pour(url, range.clone(), None, |at, piece| {
                // A broken transfer that could not go on begins anew.
                bytes.truncate((at - range.start) as usize);
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .await?;
        Ok((bytes.into(), told))
    }

    /// Bytes of a file, handed to `take` in order with the offset in the file, as they arrive. A transfer that breaks
    /// off goes on where it stopped; if the file changed meanwhile (or is not the version `etag`), that ends it.
    /// Where the file ends before the range does, fewer bytes come; the caller judges. A server that ignores ranges
    /// is listened to until the range is over.
    pub(crate) async fn pour(
        &self,
        url: &Url,
        range: Range<u64>,
        etag: Option<&str>,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<Told, Stop> {
        let (mut tries, mut all_tries) = (0, 0);
        let mut at = range.start;
        let mut version = etag.map(str::to_owned);
        loop {
            let before = at;
            match self.pour_once(url, &mut at, range.end, &mut version, &mut take).await {
                Ok(told) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return Ok(told);
                }
                Err(attempt) => {
                    // Without a version nobody knows whether the rest is of the same file.
                    if version.as_ref().is_none_or(|etag| etag.starts_with("W/")) {
                        at = range.start;
                    }
                    // Only tries that bring nothing count, within reason.
                    tries = if at > before { 1 } else { tries + 1 };
                    all_tries += 1;
                    let counted = if all_tries > MOST_TRIES { u32::MAX } else { tries };
                    self.again(url, counted, attempt).await?;
                }
            }
        }
    }

    async fn pour_once(
        &self,
        url: &Url,
        at: &mut u64,
        end: u64,
        version: &mut Option<String>,
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<Told, Attempt> {
        let headers = header(RANGE, &format!("bytes={at}-{}", end - 1));
        let ask = Ask { method: Method::GET, headers, body: None, timeout: self.timeout() };
        let (mut response, turns) = self.send(url, &ask).await?;
        let part = content_range(&response)?;
        let found = etag_of(response.headers());
        if let (Some(old), Some(new)) = (&version, &found)
            && old != new
            && !old.starts_with("W/")
        {
            return Err(Attempt::Final("changed while it was read".into()));
        }
        *version = version.take().or(found);
        let length = response.content_length();
        let (from, total) = part.unwrap_or((0, length));
        if part.is_some() && from != *at {
            return Err(Attempt::Again(format!("expected bytes from {at}, found them from {from}"), None));
        }
        let last = total.map_or(end, |total| end.min(total));
        let (first, mut here) = (*at, from);
        while here < last {
            let Some(piece) = response.chunk().await.map_err(broken)? else { break };
            self.count(&turns.host, piece.len());
            let skip = first.saturating_sub(here).min(piece.len() as u64) as usize;
            let keep = piece.len().min((last - here) as usize);
            here += piece.len() as u64;
            if skip < keep {
                take(*at, &piece[skip..keep]).map_err(Attempt::Disk)?;
                *at += (keep - skip) as u64;
            }
        }
        // A body without a length ends where the file does.
        if *at < last && !(part.is_none() && length.is_none()) {
            return Err(Attempt::Again(
                format!("expected {} bytes, found {}", last - first, *at - first),
                None,
            ));
        }
        Ok(Told { total, etag: version.clone() })
    }

    /// A whole file, streamed to `<path>.partial`, checked, and renamed by the caller. A broken transfer goes on where
    /// it stopped, after a kill too, as long as the file's ETag stays the same.
    pub(crate) async fn download(&self, url: &Url, path: &Path) -> Result<Fetched, Stop> {
        let mut file = PartialFile::open(path).await?;
        let mut tries = 0;
        loop {
            match self.download_once(url, &mut file).await {
                Ok(()) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    let (len, etag) = (file.len, file.etag.clone());
                    return Ok(Fetched { len, sha256: file.finish().await?, etag });
                }
                Err(attempt) => {
                    tries += 1;
                    if let Err(stop) = self.again(url, tries, attempt).await {
                        if matches!(stop, Stop::Gap(_)) {
                            file.discard();
                        }
                        return Err(stop);
                    }
                }
            }
        }
    }

    async fn download_once(&self, url: &Url, file: &mut PartialFile) -> Result<(), Attempt> {
        let mut headers = HeaderMap::new();
        let goes_on = file.len > 0 && file.etag.as_ref().is_some_and(|etag| !etag.starts_with("W/"));
        if let (true, Some(etag)) = (goes_on, &file.etag) {
            headers = header(RANGE, &format!("bytes={}-", file.len));
            headers.extend(header(IF_RANGE, etag));
        }
        // The length of a whole file says nothing about its time; silence is what ends it.
        let ask = Ask { method: Method::GET, headers, body: None, timeout: None };
        let (mut response, turns) = self.send(url, &ask).await?;
        let part = content_range(&response)?;
        let etag = etag_of(response.headers());
        match part {
            Some((from, _)) if goes_on && from == file.len && etag == file.etag => {}
            Some((from, _)) => {
                file.restart(None).await.map_err(Attempt::Disk)?;
                return Err(Attempt::Again(
                    format!("the file changed at byte {from} while it was read"),
                    None,
                ));
            }
            None => file.restart(etag).await.map_err(Attempt::Disk)?,
        }
        let total = response.content_length().map(|rest| rest + file.len);
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            self.count(&turns.host, piece.len());
            file.append(&piece).await.map_err(Attempt::Disk)?;
        }
        match total {
            Some(total) if total != file.len => {
                Err(Attempt::Again(format!("expected {total} bytes, found {}", file.len), None))
            }
            _ => Ok(()),
        }
    }

    /// What went over the network in this run, by host.
    pub(crate) fn traffic(&self) -> Vec<(String, Traffic)> {
        self.hosts.traffic()
    }

    /// What went over the network in this run.
    pub(crate) fn total(&self) -> Traffic {
        self.hosts.total()
    }

    /// Bytes received by this run and all before it.
    pub(crate) fn received_ever(&self) -> u64 {
        self.received.total()
    }

    async fn document(&self, url: &Url, ask: &Ask<'_>) -> Result<Answer, Stop> {
        let mut tries = 0;
        loop {
            match self.document_once(url, ask).await {
                Ok(answer) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(attempt) => {
                    tries += 1;
                    self.again(url, tries, attempt).await?;
                }
            }
        }
    }

    async fn document_once(&self, url: &Url, ask: &Ask<'_>) -> Result<Answer, Attempt> {
        let (mut response, turns) = self.send(url, ask).await?;
        let (length, headers) = (response.content_length(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            self.count(&turns.host, piece.len());
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
                return Err(Attempt::Final(format!(
                    "expected a document, found more than {MAX_DOCUMENT_BYTES} bytes"
                )));
            }
        }
        match length {
            Some(length) if length != bytes.len() as u64 => {
                Err(Attempt::Again(format!("expected {length} bytes, found {}", bytes.len()), None))
            }
            _ => Ok(Answer { bytes: bytes.into(), headers }),
        }
    }

    /// Sends a request and follows redirects; the answer has a good status. The permits are to be held while its body
    /// is read.
    async fn send(&self, url: &Url, ask: &Ask<'_>) -> Result<(Response, Turns), Attempt> {
        let turns = self.turns(url).await;
        let mut at = url.clone();
        let mut method = ask.method.clone();
        for _ in 0..=MAX_REDIRECTS {
            let token = self.sign(&at).await?;
            let signed = token.as_ref().map_or_else(|| at.clone(), |token| token.sign(&at));
            let mut request = self.client.request(method.clone(), signed).headers(ask.headers.clone());
            if let (Some(body), true) = (ask.body, method == Method::POST) {
                request = request.body(body.to_string());
            }
            if let Some(timeout) = ask.timeout {
                request = request.timeout(timeout);
            }
            let request = self.settings.credentials.authorize(request, &at);
            self.hosts.of(&at).requests.fetch_add(1, Ordering::Relaxed);
            let response = request.send().await.map_err(broken)?;
            let status = response.status();
            if status.is_success() {
                return Ok((response, turns));
            }
            if status.is_redirection() {
                at = next_hop(&at, response.headers()).map_err(Attempt::Final)?;
                if status != StatusCode::TEMPORARY_REDIRECT && status != StatusCode::PERMANENT_REDIRECT {
                    method = if method == Method::POST { Method::GET } else { method };
                }
                continue;
            }
            return Err(self.refused(&response, token).await);
        }
        Err(Attempt::Final(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// What a bad status means.
    async fn refused(&self, response: &Response, token: Option<Token>) -> Attempt {
        let reason = format!("HTTP status {}", response.status().as_u16());
        match response.status().as_u16() {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                Attempt::Again(reason, retry_after(response.headers()))
            }
            401 | 403 if token.is_some() => {
                if let (Some(sas), Some(token)) = (&self.settings.credentials.sas, &token) {
                    sas.refused(token).await;
                }
                Attempt::Again(format!("{reason}, with a signature"), None)
            }
            401 | 403 => Attempt::Final(format!("{reason}: a login may be needed")),
            _ => Attempt::Final(reason),
        }
    }

    /// The signature for an address that needs one.
    async fn sign(&self, url: &Url) -> Result<Option<Token>, Attempt> {
        let Some(sas) = self.settings.credentials.sas.as_ref().filter(|sas| sas.is_for(url)) else {
            return Ok(None);
        };
        let failed = |reason: String| {
            Attempt::Again(format!("no signature from {}: {reason}", plain(&sas.endpoint)), None)
        };
        let fetch = |endpoint: Url| async move {
            let host = self.hosts.of(&endpoint);
            host.requests.fetch_add(1, Ordering::Relaxed);
            let request = self.settings.credentials.authorize(self.client.get(endpoint.clone()), &endpoint);
            let response = request.send().await.map_err(broken)?;
            if !response.status().is_success() {
                return Err(failed(format!("HTTP status {}", response.status().as_u16())));
            }
            let bytes = response.bytes().await.map_err(broken)?;
            self.count(&host, bytes.len());
            Token::parse(&bytes, Utc::now()).map_err(failed)
        };
        sas.token(fetch).await.map(Some)
    }

    /// Waits before another try, or says why there will be none.
    async fn again(&self, url: &Url, tries: u32, attempt: Attempt) -> Result<(), Stop> {
        let (reason, asked) = match attempt {
            Attempt::Disk(error) => return Err(Stop::Fatal(error)),
            Attempt::Final(reason) => {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
                return Err(Stop::Gap(format!("{}: {reason}", plain(url))));
            }
            Attempt::Again(reason, asked) => (reason, asked),
        };
        if tries > self.settings.retries {
            let attempts = if tries == u32::MAX { "too many".to_owned() } else { tries.to_string() };
            let reason = format!("{}: {reason}, after {attempts} attempts", plain(url));
            let count = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
            if count > self.settings.connections.max(8) {
                return Err(Stop::Fatal(Error::Down { count, reason }));
            }
            return Err(Stop::Later(reason));
        }
        self.hosts.of(url).retries.fetch_add(1, Ordering::Relaxed);
        let pause = asked.unwrap_or_else(|| self.pauses.draw(tries));
        tracing::debug!(url = plain(url), reason, tries, ?pause, "again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn count(&self, host: &Host, bytes: usize) {
        host.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.received.add(bytes as u64);
    }

    /// Waits for the host's turn, then for a connection of all: a slow host holds up no other.
    async fn turns(&self, url: &Url) -> Turns {
        let host = self.hosts.of(url);
        let of_host = host.turn().await;
        let of_all = Arc::clone(&self.connections).acquire_owned().await.ok();
        Turns { host, _permits: [of_host, of_all] }
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.settings.timeout_s))
    }
}

/// The right to use a connection, one of the host's and one of all.
struct Turns {
    host: Arc<Host>,
    // Never closed, so both are there.
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

/// An address without credentials and query, for messages and the ledger.
pub(crate) fn plain(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Network trouble is worth another try; a request that cannot be made is not. The address, which may hold a secret,
/// is left out.
fn broken(error: reqwest::Error) -> Attempt {
    let is_final = error.is_builder() || error.is_redirect();
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    if is_final { Attempt::Final(reason) } else { Attempt::Again(reason, None) }
}

fn header(name: HeaderName, value: &str) -> HeaderMap {
    // What cannot stand in a header is left out; only an ETag from outside could be such.
    HeaderValue::from_str(value).map(|value| HeaderMap::from_iter([(name, value)])).unwrap_or_default()
}

fn etag_of(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Start and total of the part of a file that an answer holds; `None` if it is the whole file.
fn content_range(response: &Response) -> Result<Option<(u64, Option<u64>)>, Attempt> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(None);
    }
    let text =
        response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match parse_content_range(text) {
        Some(part) => Ok(Some(part)),
        None => Err(Attempt::Final("status 206 without a Content-Range".into())),
    }
}

/// Start and total of `bytes 0-99/1234`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_credentials() {
        let url = Url::parse("https://user:secret@host:81/a/b.tif?sig=secret").unwrap();
        assert_eq!(plain(&url), "https://host:81/a/b.tif");
    }

    #[test]
    fn content_ranges_are_understood() {
        assert_eq!(parse_content_range("bytes 5-9/100"), Some((5, Some(100))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse_content_range("items 5-9/100"), None);
    }
}
