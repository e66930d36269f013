//! Directory listings of web servers (Apache, nginx, Earthdata): the links in a page.

use std::collections::BTreeSet;

use url::Url;

/// The files (not folders) that a listing at `base` links to, directly below it, ascending by address and without
/// doubles. Sorting links (`?C=N`), links elsewhere and links upwards are left out.
pub(crate) fn files(html: &str, base: &Url) -> Vec<Url> {
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = BTreeSet::new();
    for link in hrefs(html) {
        let Ok(mut url) = base.join(&link) else { continue };
        url.set_fragment(None);
        let below = url.path().strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let is_file = below.is_some_and(|name| !name.is_empty() && !name.contains('/'));
        if is_file && url.host() == base.host() && url.port() == base.port() && url.query().is_none() {
            found.insert(url);
        }
    }
    found.into_iter().collect()
}

/// Values of all `href` attributes, quoted either way, with the entity of the ampersand resolved.
fn hrefs(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lower = html.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower[from..].find("href") {
        from += at + 4;
        let rest = html[from..].trim_start();
        let Some(rest) = rest.strip_prefix('=').map(str::trim_start) else { continue };
        let Some(quote) = rest.chars().next().filter(|c| ['"', '\''].contains(c)) else { continue };
        if let Some((link, _)) = rest[1..].split_once(quote) {
            found.push(link.replace("&amp;", "&"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apache_listing() {
        let base = Url::parse("https://host/data/SPL4SMGP.007/2020.01.02/").unwrap();
        let html = r#"<html><body><h1>Index of /data</h1><table>
            <tr><th><a href="?C=N;O=D">Name</a></th></tr>
            <tr><td><a href="/data/SPL4SMGP.007/">Parent Directory</a></td></tr>
            <tr><td><A HREF='SMAP_b.h5'>SMAP_b.h5</A></td></tr>
            <tr><td><a href="SMAP_a.h5">SMAP_a.h5</a> <a href="SMAP_a.h5.xml">x</a></td></tr>
            <tr><td><a href="https://elsewhere/evil.h5">x</a><a href="../evil.h5">x</a><a href="sub/">x</a></td></tr>
            </table><a href = "/data/SPL4SMGP.007/2020.01.02/SMAP_a.h5#top">again</a></body></html>"#;
        let names: Vec<String> =
            files(html, &base).iter().map(|url| url.path().rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["SMAP_a.h5", "SMAP_a.h5.xml", "SMAP_b.h5"]);
    }
}
