//! Which hosts files may come from. An item of a catalogue is data from outside: it must not be able to send requests
//! to wherever it likes.

use serde::Serialize;
use url::Url;

/// Names of hosts; `*.name` means every host below `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Hosts(Vec<String>);

/// Where known catalogues keep their files.
const KNOWN: [(&str, &[&str]); 3] = [
    (
        "earth-search.aws.element84.com",
        &[
            "sentinel-cogs.s3.us-west-2.amazonaws.com",
            "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
        ],
    ),
    ("planetarycomputer.microsoft.com", &["*.blob.core.windows.net"]),
    ("stac.dataspace.copernicus.eu", &["*.dataspace.copernicus.eu"]),
];

impl Hosts {
    pub(crate) fn new(names: &[String]) -> Hosts {
        Hosts(names.iter().map(|name| name.to_lowercase()).collect())
    }

    /// The catalogue's own host, what it is known to use, and what the user adds.
    pub(crate) fn of_catalogue(catalogue: &Url, more: &[String]) -> Hosts {
        let own = catalogue.host_str().unwrap_or_default();
        let known = KNOWN.iter().filter(|(name, _)| *name == own).flat_map(|(_, hosts)| *hosts);
        let mut names = vec![own.to_owned()];
        names.extend(known.map(|host| (*host).to_owned()));
        names.extend(more.iter().cloned());
        Hosts::new(&names)
    }

    pub(crate) fn allow(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
            None => host == name,
        })
    }

    /// The address of a file in an item, if it may be asked for.
    ///
    /// # Errors
    /// Why it may not, with what to do.
    pub(crate) fn check(&self, href: &str) -> Result<Url, String> {
        let url = Url::parse(href).map_err(|error| format!("not an address: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(format!("expected an http(s) address, found {}://…", url.scheme()));
        }
        if self.allow(&url) {
            return Ok(url);
        }
        let host = url.host_str().unwrap_or_default();
        Err(format!(
            "refused to ask {host}: expected one of {}; `hosts` in [download] allows more",
            self.0.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_cannot_send_requests_elsewhere() {
        let catalogue = Url::parse("https://earth-search.aws.element84.com/v1").unwrap();
        let hosts = Hosts::of_catalogue(&catalogue, &["*.mirror.example".to_owned()]);
        for good in [
            "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a.tif",
            "https://earth-search.aws.element84.com/a.tif",
            "https://eu.mirror.example/a.tif",
        ] {
            assert!(hosts.check(good).is_ok(), "{good}");
        }
        for (evil, reason) in [
            ("http://169.254.169.254/latest/meta-data", "refused to ask 169.254.169.254"),
            ("http://localhost:8080/", "refused"),
            ("https://mirror.example/a.tif", "refused"),
            ("https://evilmirror.example/a.tif", "refused"),
            ("file:///etc/passwd", "found file://"),
            ("s3://bucket/a.tif", "found s3://"),
            ("red.tif", "not an address"),
        ] {
            assert!(hosts.check(evil).unwrap_err().contains(reason), "{evil}");
        }
    }
}
