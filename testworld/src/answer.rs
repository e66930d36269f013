//! Files over HTTP: ranges, validators, and listings of folders.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;

use crate::rope::Rope;

/// Answers a request for a file: the whole of it or the range asked for, with validators, and the length of the body that
/// is sent. `tag` is the entity tag with its quotes.
pub(crate) fn file_answer(
    path: &str,
    tag: &str,
    rope: &Rope,
    method: &Method,
    headers: &HeaderMap,
) -> (Response, usize) {
    let total = rope.len();
    let asked = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let common = [
        (header::ETAG, tag.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_TYPE, content_type(path).to_owned()),
        (header::LAST_MODIFIED, "Sun, 01 Jan 2023 00:00:00 GMT".to_owned()),
    ];
    let named = |value: &str| value == "*" || value.split(',').any(|one| one.trim() == tag);
    if asked(header::IF_MATCH).is_some_and(|value| !named(value)) {
        return ((StatusCode::PRECONDITION_FAILED, common).into_response(), 0);
    }
    if asked(header::IF_NONE_MATCH).is_some_and(named) {
        return ((StatusCode::NOT_MODIFIED, common).into_response(), 0);
    }
    let range = asked(header::RANGE).filter(|_| asked(header::IF_RANGE).is_none_or(|value| value == tag));
    let (status, (start, end), content_range) = match range.map_or(Asked::Whole, |r| parse_range(r, total)) {
        Asked::Whole => (StatusCode::OK, (0, total), None),
        Asked::Part(first, last) => {
            (StatusCode::PARTIAL_CONTENT, (first, last + 1), Some(format!("bytes {first}-{last}/{total}")))
        }
        Asked::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, (0, 0), Some(format!("bytes */{total}"))),
    };
    let (body, sent) = if *method == Method::HEAD {
        (Body::empty(), 0)
    } else {
        (body_of(rope.slice(start, end)), end - start)
    };
    let mut response = (status, common, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (end - start).into());
    if let Some(value) = content_range.and_then(|range| range.parse().ok()) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    (response, sent)
}

/// Pieces one after the other, as they are.
fn body_of(mut pieces: Vec<Bytes>) -> Body {
    match pieces.len() {
        0 | 1 => Body::from(pieces.pop().unwrap_or_default()),
        _ => Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<Bytes, Infallible>))),
    }
}

/// What part of a file a Range header asks for.
#[derive(Debug, PartialEq)]
enum Asked {
    /// No range, several ranges, or a unit other than bytes: the whole file, as HTTP allows.
    Whole,
    /// First and last byte.
    Part(usize, usize),
    /// Beyond the end of the file.
    Outside,
}

fn parse_range(range: &str, total: usize) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Asked::Whole;
    };
    match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(first), _) if first >= total => Asked::Outside,
        (Ok(first), Ok(last)) if first <= last => Asked::Part(first, last.min(total - 1)),
        (Ok(first), Err(_)) if last.trim().is_empty() => Asked::Part(first, total - 1),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => match suffix {
            0 => Asked::Outside,
            _ => Asked::Part(total.saturating_sub(suffix), total - 1),
        },
        _ => Asked::Whole,
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("tif") => "image/tiff; application=geotiff; profile=cloud-optimized",
        Some("xml") => "application/xml",
        Some("zgroup" | "zattrs" | "zarray" | "zmetadata") => "application/json",
        _ => "application/octet-stream",
    }
}

/// A folder as Apache's mod_autoindex shows it.
pub(crate) fn listing(path: &str, names: &[String]) -> String {
    let title = format!("Index of /{}", path.trim_end_matches('/'));
    let rows: String = names
        .iter()
        .map(|name| format!("<img src=\"/icons/unknown.gif\" alt=\"[   ]\"> <a href=\"{name}\">{name}</a>\n"))
        .collect();
    format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>{title}</title>\n \
         </head>\n <body>\n<h1>{title}</h1>\n<pre><a href=\"?C=N;O=D\">Name</a> <a href=\"?C=M;O=A\">Last modified</a>\
         <hr><a href=\"../\">Parent Directory</a>\n{rows}<hr></pre>\n</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_http_means_them() {
        assert_eq!(parse_range("bytes=0-99", 1000), Asked::Part(0, 99));
        assert_eq!(parse_range("bytes=900-2000", 1000), Asked::Part(900, 999));
        assert_eq!(parse_range("bytes=900-", 1000), Asked::Part(900, 999));
        assert_eq!(parse_range("bytes=-100", 1000), Asked::Part(900, 999));
        assert_eq!(parse_range("bytes=1000-", 1000), Asked::Outside);
        assert_eq!(parse_range("bytes=-0", 1000), Asked::Outside);
        assert_eq!(parse_range("bytes=5-2", 1000), Asked::Whole);
        assert_eq!(parse_range("bytes=0-1,5-6", 1000), Asked::Whole);
        assert_eq!(parse_range("lines=0-1", 1000), Asked::Whole);
    }
}
