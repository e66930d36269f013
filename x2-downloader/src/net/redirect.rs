//! Where a redirect may lead.

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::credentials::is_here;

/// The next address: http(s), never from an encrypted connection to a plain one, never from outside into this machine
/// or its network.
///
/// # Errors
/// Why the redirect is refused.
pub(super) fn next_hop(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location =
        headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or("a redirect to nowhere")?;
    let to = from.join(location).map_err(|error| format!("a redirect to no address: {error}"))?;
    let host = to.host_str().unwrap_or_default();
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, scheme) => return Err(format!("refused a redirect to {scheme}://{host}")),
    }
    if is_here(&to) && !is_here(from) {
        return Err(format!("refused a redirect into the local network, to {host}"));
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_outwards_only() {
        let hop = |from: &str, to: &str| {
            next_hop(&Url::parse(from).unwrap(), &HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]))
        };
        assert_eq!(hop("https://a/x/y", "../z").unwrap().as_str(), "https://a/z");
        assert_eq!(hop("http://127.0.0.1:1/a", "http://127.0.0.1:2/b").unwrap().port(), Some(2));
        assert!(hop("https://a/", "https://signed.example/f?sig=1").is_ok());
        for (from, to) in [
            ("https://a/", "http://a/"),
            ("https://a/", "file:///etc/passwd"),
            ("http://a.example/", "http://169.254.169.254/latest/meta-data"),
            ("https://a.example/", "https://localhost/"),
        ] {
            assert!(hop(from, to).unwrap_err().contains("refused"), "{to}");
        }
        assert!(next_hop(&Url::parse("https://a/").unwrap(), &HeaderMap::new()).is_err());
    }
}
