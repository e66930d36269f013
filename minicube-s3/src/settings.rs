//! What the environment says of the server and the keys, checked.

use std::io::{self, ErrorKind};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, RetryConfig};
use url::{Host, Url};

use crate::failure::failure;

/// Variables that name the server, the strongest first.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// The client of a bucket, from the variables that begin with `AWS_`.
pub(crate) fn client(
    bucket: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> io::Result<AmazonS3> {
    let settings: Vec<(String, String)> =
        settings.into_iter().filter(|(key, value)| key.starts_with("AWS_") && !value.is_empty()).collect();
    let value =
        |wanted: &str| settings.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let mut builder = AmazonS3Builder::new();
    for (key, value) in &settings {
        if let Ok(known) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(known, value);
        }
    }
    let endpoint = ENDPOINTS.iter().find_map(|key| Some((*key, value(key)?)));
    if let Some((key, endpoint)) = endpoint {
        let allowed = value("AWS_ALLOW_HTTP").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        builder = builder.with_allow_http(may_be_plain(key, endpoint, allowed)?);
    }
    // A 5xx or a lost connection is tried again after 0.1 s, and after longer and longer times.
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 8,
        retry_timeout: Duration::from_secs(120),
    };
    builder.with_bucket_name(bucket).with_retry(retry).build().map_err(failure)
}

/// Whether the server may be spoken to without TLS: on loopback, or where the user says so.
fn may_be_plain(key: &str, endpoint: &str, allowed: bool) -> io::Result<bool> {
    let wrong = |found: &str| {
        let text = format!("{key}: expected an https URL, or http on loopback, found {found}");
        Err(io::Error::new(ErrorKind::InvalidInput, text))
    };
    // The value itself is not repeated: it may hold a password.
    let Ok(url) = Url::parse(endpoint) else { return wrong("no URL") };
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(allowed),
        ("http", Some(host)) if allowed || is_loopback(&host) => Ok(true),
        ("http", Some(host)) => wrong(&format!("http on {host}")),
        (scheme, _) => wrong(&format!("{scheme}:")),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_or_on_demand() {
        let plain = |endpoint: &str, allowed| may_be_plain("AWS_ENDPOINT_URL", endpoint, allowed);
        assert!(plain("http://127.0.0.1:9000", false).unwrap());
        assert!(plain("http://[::1]:9000", false).unwrap());
        assert!(!plain("https://s3.example.org", false).unwrap());
        assert!(plain("http://minio.example.org", true).unwrap());
        let error = plain("http://me:secret@minio.example.org/?a=b", false).unwrap_err().to_string();
        assert_eq!(
            error,
            "AWS_ENDPOINT_URL: expected an https URL, or http on loopback, found http on minio.example.org"
        );
        assert!(plain("minio:9000", false).is_err() && plain("nonsense", false).is_err());
    }
}
