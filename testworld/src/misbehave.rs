//! What stands between a request and its answer: counting, waiting, tokens, and faults on purpose.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use chrono::Utc;
use futures::{StreamExt, stream};

use crate::counters::count_pieces;
use crate::faults::Fault;
use crate::serve::{FORGET, STATS, Shared, problem};
use crate::{cmr, sas};

const LARGEST_REQUEST: usize = 4 << 20;

/// Folder whose files need a token, where tokens are wanted at all.
const SIGNED: &str = "/cogs/";

/// Addresses that are answered by a program and not by a file.
const PROGRAMS: [&str; 3] = ["/stac", "/sas/", "/cmr/"];

/// Counts, waits, and lets some answers fail.
pub(crate) async fn misbehave(State(app): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if [STATS, FORGET].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    app.counters.request();
    if !app.latency.is_zero() {
        tokio::time::sleep(app.latency).await;
    }
    let start = Instant::now();
    let response = if app.faults.spec.is_idle() {
        next.run(request).await
    } else {
        refuse_or_answer(&app, request, next).await
    };
    app.counters.busy(start.elapsed());
    count_pieces(response, &app.counters)
}

async fn refuse_or_answer(app: &Shared, request: Request, next: Next) -> Response {
    let spec = &app.faults.spec;
    let path = request.uri().path();
    let is_file = !PROGRAMS.iter().any(|program| path.starts_with(program)) && !path.ends_with('/');
    let is_signed = spec.token.is_some() && path.starts_with(SIGNED);
    if is_signed {
        let query = request.uri().query().unwrap_or_default();
        if let Err(reason) = sas::check(app.world.seed(), query, Utc::now()) {
            return problem(StatusCode::FORBIDDEN, reason);
        }
    }
    if is_file && spec.gone.iter().any(|text| path.contains(text)) {
        app.counters.fault();
        return problem(StatusCode::NOT_FOUND, "the file is gone");
    }
    if spec.shares.is_empty() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let sent = String::from_utf8_lossy(&body);
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let field =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let after = field(cmr::SEARCH_AFTER);
    let is_later_page = !after.is_empty()
        || path.starts_with("/stac/")
            && (sent.contains("\"next\"") || query.is_some_and(|query| query.contains("next=")));
    // Tokens differ from minute to minute; what fails must not.
    let address = if is_signed { path.to_owned() } else { parts.uri.to_string() };
    let name = format!("{} {address} {} {sent}{after}", parts.method, field("range"));
    let fault = app.faults.strike(&name, is_file, is_later_page);
    let request = Request::from_parts(parts, Body::from(body));
    match fault {
        None => next.run(request).await,
        Some(fault) => {
            app.counters.fault();
            fail(app, fault, request, next).await
        }
    }
}

async fn fail(app: &Shared, fault: Fault, request: Request, next: Next) -> Response {
    match fault {
        Fault::Unavailable => problem(StatusCode::SERVICE_UNAVAILABLE, "please reduce your request rate"),
        Fault::TooManyRequests => {
            let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
            response
        }
        Fault::Expire => problem(StatusCode::FORBIDDEN, "the signature has expired"),
        Fault::Page2 => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal server error"),
        Fault::Truncate | Fault::Stall | Fault::Reset | Fault::WrongLength | Fault::Corrupt => {
            let (parts, body) = next.run(request).await.into_parts();
            let Ok(whole) = to_bytes(body, usize::MAX).await else {
                return problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be read");
            };
            let mut parts = parts;
            if !parts.headers.contains_key(header::CONTENT_LENGTH) {
                parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
            }
            let half = whole.slice(..whole.len() / 2);
            let body = match fault {
                Fault::WrongLength => {
                    parts.headers.insert(header::CONTENT_LENGTH, half.len().into());
                    Body::from(half)
                }
                Fault::Corrupt => Body::from(corrupted(&whole)),
                Fault::Stall => broken_off(half, app.faults.spec.stall),
                Fault::Reset => broken_off(Bytes::new(), Duration::ZERO),
                _ => broken_off(half, Duration::ZERO),
            };
            Response::from_parts(parts, body)
        }
    }
}

/// A body that ends in an error, so that the connection closes before the promised length is reached.
fn broken_off(sent: Bytes, silence: Duration) -> Body {
    let end = stream::once(async move {
        tokio::time::sleep(silence).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::iter([Ok(sent)]).chain(end))
}

/// Inverts up to 16 bytes in the middle.
fn corrupted(whole: &Bytes) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(16).for_each(|byte| *byte = !*byte);
    bytes
}
