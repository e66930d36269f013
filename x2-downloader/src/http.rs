//! Requests that survive a bad network: retried, timed, counted, checked for length and version.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use minicube::partial_path;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, RANGE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use url::Url;

use crate::Error;
use crate::plan::Network;

const FIRST_PAUSE_S: f64 = 0.25;
const LONGEST_PAUSE_S: f64 = 30.0;
const LONGEST_RETRY_AFTER_S: u64 = 300;
const MAX_REDIRECTS: usize = 5;

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

/// What went over the network, all tasks together.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A body, or a part of a file.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Whether the server sent the whole file.
    pub(crate) whole: bool,
    /// The bytes asked for; all of them where `whole`.
    pub(crate) bytes: Bytes,
    /// Size of the remote file, where told.
    pub(crate) total: Option<u64>,
    /// ETag of the remote file, where given.
    pub(crate) etag: Option<String>,
    /// All headers.
    pub(crate) headers: HeaderMap,
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
    connections: Semaphore,
    /// Bounds what has arrived and is not yet on the disk.
    pub(crate) slots: Semaphore,
    pub(crate) settings: Network,
    token: Option<(String, String)>,
    failures_in_a_row: AtomicUsize,
    jitter: RandomState,
    pub(crate) traffic: Traffic,
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

impl Http {
    /// # Errors
    /// [`Error::Setup`] if the client cannot be built.
    pub(crate) fn new(settings: &Network) -> Result<Http, Error> {
        let client = Client::builder()
            .user_agent(concat!("minicube-x2-downloader/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs_f64(settings.stall_s))
            .read_timeout(Duration::from_secs_f64(settings.stall_s))
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Http {
            client,
            connections: Semaphore::new(settings.connections),
            slots: Semaphore::new(2 * settings.connections),
            settings: settings.clone(),
            token: settings.bearer.clone(),
            failures_in_a_row: AtomicUsize::new(0),
            jitter: RandomState::new(),
            traffic: Traffic::default(),
        })
    }

    /// A whole small document.
    pub(crate) async fn get(&self, url: &Url) -> Result<Answer, Stop> {
        self.get_with(url, &[]).await
    }

    /// A whole small document, asked for with headers.
    pub(crate) async fn get_with(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, Stop> {
        self.persist(url, || async {
            let request = headers
                .iter()
                .fold(self.client.get(url.clone()), |request, (name, value)| request.header(*name, *value));
            let (answer, _) = self.body(request, url).await?;
            Ok(answer)
        })
        .await
    }

    /// The answer to a JSON document.
    pub(crate) async fn post(&self, url: &Url, body: &Value) -> Result<Answer, Stop> {
        self.persist(url, || async {
            let (answer, _) = self
                .body(
                    self.client
                        .post(url.clone())
                        .header(CONTENT_TYPE, "application/json")
                        .body(body.to_string()),
                    url,
                )
                .await?;
            Ok(answer)
        })
        .await
    }

    /// Bytes of a file. Where the file ends before the range does, the answer is shorter; the caller judges.
    pub(crate) async fn range(&self, url: &Url, range: Range<u64>) -> Result<Answer, Stop> {
        self.persist(url, || async {
            let ask = format!("bytes={}-{}", range.start, range.end - 1);
            let (answer, part) = self.body(self.client.get(url.clone()).header(RANGE, ask), url).await?;
            let Some((from, total)) = part else { return Ok(answer) };
            let end = total.map_or(range.end, |total| range.end.min(total));
            let (expected, found) = (end.saturating_sub(range.start), answer.bytes.len() as u64);
            if from != range.start || found != expected {
                let reason =
                    format!("expected {expected} bytes from {}, found {found} from {from}", range.start);
                return Err(Attempt::Again(reason, None));
            }
            Ok(Answer { whole: false, total, ..answer })
        })
        .await
    }

    /// A whole file, streamed to `<path>.partial`, checked, and renamed by the caller. A broken transfer goes on
    /// where it stopped as long as the file's ETag stays the same.
    pub(crate) async fn download(&self, url: &Url, path: &Path) -> Result<Fetched, Stop> {
        let partial = partial_path(path);
        // It may be a link to a local file, which must not be written to.
        let _ = std::fs::remove_file(&partial);
        let have = tokio::sync::Mutex::new(Half::default());
        self.persist(url, || async {
            let mut have = have.lock().await;
            self.stream(url, &partial, &mut have).await
        })
        .await
    }

    /// Tries until an attempt succeeds, fails for good, or the retries are used up.
    async fn persist<T, F>(&self, url: &Url, attempt: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, Attempt>>,
    {
        let mut tries = 0;
        loop {
            let result = {
                // A closed semaphore cannot happen: it is never closed.
                let _permit = self.connections.acquire().await;
                self.traffic.requests.fetch_add(1, Ordering::Relaxed);
                attempt().await
            };
            tries += 1;
            match result {
                Ok(value) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(Attempt::Disk(error)) => return Err(Stop::Fatal(error)),
                Err(Attempt::Final(reason)) => {
                    self.failures_in_a_row.store(0, Ordering::Relaxed);
                    return Err(Stop::Gap(format!("{}: {reason}", plain(url))));
                }
                Err(Attempt::Again(reason, _)) if tries > self.settings.retries => {
                    let reason = format!("{}: {reason}, after {tries} attempts", plain(url));
                    let count = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                    if count > self.settings.connections.max(8) {
                        return Err(Stop::Fatal(Error::Down { count, reason }));
                    }
                    return Err(Stop::Later(reason));
                }
                Err(Attempt::Again(reason, asked)) => {
                    self.traffic.retries.fetch_add(1, Ordering::Relaxed);
                    let pause = asked.unwrap_or_else(|| self.pause(tries));
                    tracing::debug!(url = plain(url), reason, tries, ?pause, "again");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Doubling from a quarter of a second, between half and all of it, so that clients do not come back together.
    fn pause(&self, tries: u32) -> Duration {
        let full = (FIRST_PAUSE_S * f64::from(tries - 1).exp2()).min(LONGEST_PAUSE_S);
        let draw = self.jitter.hash_one((tries, self.traffic.requests.load(Ordering::Relaxed))) % 1024;
        Duration::from_secs_f64(full * (0.5 + draw as f64 / 2048.0))
    }

    /// One attempt at a body, with the start and total of its Content-Range if it is a part.
    async fn body(
        &self,
        request: RequestBuilder,
        url: &Url,
    ) -> Result<(Answer, Option<(u64, Option<u64>)>), Attempt> {
        let request = request.timeout(Duration::from_secs_f64(self.settings.timeout_s));
        let response = self.send(request, url).await?;
        let part = (response.status() == StatusCode::PARTIAL_CONTENT)
            .then(|| content_range(response.headers()))
            .transpose()?;
        let (etag, length) = (etag(response.headers()), response.content_length());
        let headers = response.headers().clone();
        let bytes = response.bytes().await.map_err(broken)?;
        self.traffic.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(Attempt::Again(format!("expected {length:?} bytes, found {}", bytes.len()), None));
        }
        let total = Some(bytes.len() as u64);
        Ok((Answer { whole: true, bytes, total, etag, headers }, part))
    }

    async fn send(&self, request: RequestBuilder, url: &Url) -> Result<Response, Attempt> {
        let request = match &self.token {
            Some((host, token)) if url.host_str() == Some(host) => request.bearer_auth(token),
            _ => request,
        };
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let reason = format!("HTTP status {}", status.as_u16());
        match status.as_u16() {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                Err(Attempt::Again(reason, retry_after(response.headers())))
            }
            _ => Err(Attempt::Final(reason)),
        }
    }

    async fn stream(&self, url: &Url, partial: &Path, half: &mut Half) -> Result<Fetched, Attempt> {
        let mut request = self.client.get(url.clone());
        let resumable = half.len > 0 && half.etag.as_ref().is_some_and(|etag| !etag.starts_with("W/"));
        if resumable {
            request = request.header(RANGE, format!("bytes={}-", half.len));
        }
        let response = self.send(request, url).await?;
        let tag = etag(response.headers());
        let part = (response.status() == StatusCode::PARTIAL_CONTENT)
            .then(|| content_range(response.headers()))
            .transpose()?;
        if !(resumable && part.is_some_and(|(from, _)| from == half.len) && tag == half.etag) {
            *half = Half { etag: tag, ..Half::default() };
            if part.is_some() {
                return Err(Attempt::Again("the file changed while it was read".into(), None));
            }
        }
        let total = response.content_length().map(|rest| rest + half.len);
        let disk = |error| Attempt::Disk(Error::io(partial, "write")(error));
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(half.len == 0)
            .open(partial)
            .await
            .map_err(disk)?;
        tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(half.len)).await.map_err(disk)?;
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    file.flush().await.map_err(disk)?;
                    return Err(broken(error));
                }
            };
            file.write_all(&chunk).await.map_err(disk)?;
            half.hasher.update(&chunk);
            half.len += chunk.len() as u64;
            self.traffic.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        // The last write may still be on its way, and only a flush tells how it ended.
        file.flush().await.map_err(disk)?;
        file.sync_all().await.map_err(disk)?;
        if total.is_some_and(|total| total != half.len) {
            return Err(Attempt::Again(format!("expected {total:?} bytes, found {}", half.len), None));
        }
        let digest = half.hasher.clone().finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Fetched { len: half.len, sha256, etag: half.etag.clone() })
    }
}

/// A transfer that broke off.
#[derive(Default)]
struct Half {
    len: u64,
    etag: Option<String>,
    hasher: Sha256,
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

fn etag(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Start and total of `bytes 0-99/1234`.
fn content_range(headers: &HeaderMap) -> Result<(u64, Option<u64>), Attempt> {
    let parsed = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(|text| {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
    });
    parsed.ok_or_else(|| Attempt::Final("status 206 without a Content-Range".into()))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
    fn messages_hold_no_credentials() {
        let url = Url::parse("https://user:secret@host:81/a/b.tif?sig=secret").unwrap();
        assert_eq!(plain(&url), "https://host:81/a/b.tif");
    }

    #[test]
    fn headers_are_understood() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, "bytes 5-9/100".parse().unwrap());
        assert!(matches!(content_range(&headers), Ok((5, Some(100)))));
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::ZERO), "a moment in the past");
        headers.insert(RETRY_AFTER, "999999".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(LONGEST_RETRY_AFTER_S)));
    }
}
