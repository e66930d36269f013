//! What a store's answer means, without what must not be shown: the answer of a server may repeat keys and signed requests.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use object_store::Error;

/// Whether there is no such object, in a bucket that is there as far as the answer tells.
pub(crate) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && code(&whole_text(error)) != Some("NoSuchBucket")
}

/// An error whose text is the server's code, or the reason why there was no answer.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn failure(error: Error) -> io::Error {
    let text = whole_text(&error);
    let code = code(&text);
    let named = code.map_or(String::new(), |code| format!(" ({code})"));
    // The answer to a listing is not told apart by the library.
    let is_denied = ["status code: 401", "status code: 403"].iter().any(|status| text.contains(status));
    match &error {
        _ if code == Some("NoSuchBucket") => io::Error::new(ErrorKind::NotFound, "no such bucket"),
        Error::NotFound { .. } => io::Error::new(ErrorKind::NotFound, "no such object or bucket"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => denied(&named),
        _ if is_denied => denied(&named),
        _ => match io_cause(&error) {
            Some((kind, cause)) => io::Error::new(kind, cause),
            None if code.is_some() => io::Error::other(format!("the object store refuses{named}")),
            None => io::Error::other(without_queries(&innermost(&error))),
        },
    }
}

fn denied(code: &str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, format!("access denied{code}"))
}

/// The text of an error and all its causes.
fn whole_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(" {inner}"));
        cause = inner.source();
    }
    text
}

/// `NoSuchKey` of `<Code>NoSuchKey</Code>`, as S3 answers.
fn code(text: &str) -> Option<&str> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    code.chars().all(|c| c.is_ascii_alphanumeric()).then_some(code)
}

/// The system's reason, where a connection failed.
fn io_cause(error: &Error) -> Option<(ErrorKind, String)> {
    let mut cause = error.source();
    let mut found = None;
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            found = Some((io.kind(), without_queries(&io.to_string())));
        }
        cause = inner.source();
    }
    found
}

fn innermost(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Cuts the queries off the URLs in a text.
fn without_queries(text: &str) -> String {
    let cut = |word: &str| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url.to_owned(),
        _ => word.to_owned(),
    };
    text.split_whitespace().map(cut).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_cut_to_its_code() {
        let answer =
            "403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId>";
        let error = Error::PermissionDenied { path: "a/b".into(), source: answer.into() };
        let failure = failure(error);
        assert_eq!(failure.kind(), ErrorKind::PermissionDenied);
        assert_eq!(failure.to_string(), "access denied (SignatureDoesNotMatch)");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let missing = |code: &str| Error::NotFound {
            path: "a".into(),
            source: format!("404: <Error><Code>{code}</Code></Error>").into(),
        };
        assert!(is_absent(&missing("NoSuchKey")) && !is_absent(&missing("NoSuchBucket")));
        assert_eq!(failure(missing("NoSuchBucket")).to_string(), "no such bucket");
    }

    #[test]
    fn queries_are_not_shown() {
        let source = "GET http://h/b?list-type=2&X-Amz-Signature=abc failed".into();
        let error = failure(Error::Generic { store: "S3", source });
        assert_eq!(error.to_string(), "GET http://h/b failed");
    }
}
