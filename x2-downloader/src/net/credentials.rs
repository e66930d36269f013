//! Who gets which secret: bearer tokens and netrc logins by host, signatures for the hosts of a storage account.
//! A secret goes over an encrypted connection, or stays on this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use reqwest::RequestBuilder;
use url::{Host, Url};

use super::sas::Sas;
use crate::config::{Bearer, Download};

/// All secrets of a run. `Debug` shows hosts only.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    bearers: BTreeMap<String, String>,
    logins: BTreeMap<String, (String, String)>,
    pub(crate) sas: Option<Sas>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&String> = self.bearers.keys().chain(self.logins.keys()).collect();
        formatter.debug_struct("Credentials").field("hosts", &hosts).field("sas", &self.sas).finish()
    }
}

impl Credentials {
    /// Reads tokens from where the section says, logins from the netrc file, and sets up signing.
    ///
    /// # Errors
    /// All problems at once, without any secret.
    pub(crate) fn load(section: &Download) -> Result<Credentials, Vec<String>> {
        let mut problems = Vec::new();
        let mut bearers = BTreeMap::new();
        for bearer in &section.bearer {
            match token(bearer) {
                Ok(token) => {
                    bearers.insert(bearer.host.to_lowercase(), token);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let logins = logins(section).unwrap_or_else(|problem| {
            problems.push(problem);
            BTreeMap::new()
        });
        let sas = Sas::plan(section).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        if problems.is_empty() { Ok(Credentials { bearers, logins, sas }) } else { Err(problems) }
    }

    /// Adds what the host of the address may get, and nothing else.
    pub(crate) fn authorize(&self, request: RequestBuilder, url: &Url) -> RequestBuilder {
        let Some(host) = url.host_str().filter(|_| is_private(url)) else { return request };
        if let Some(token) = self.bearers.get(host) {
            return request.bearer_auth(token);
        }
        match self.logins.get(host) {
            Some((login, password)) => request.basic_auth(login, Some(password)),
            None => request,
        }
    }
}

/// Whether nobody can listen: encrypted, or on this machine.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_here(url)
}

/// Whether an address is on this machine or in its local network, by name or number.
pub(super) fn is_here(url: &Url) -> bool {
    let is_ours =
        |ip: Ipv4Addr| ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified();
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => is_ours(ip),
        Some(Host::Ipv6(ip)) => {
            let is_ours_of_old = ip.to_ipv4_mapped().is_some_and(is_ours);
            is_ours_of_old
                || ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
        None => false,
    }
}

fn token(bearer: &Bearer) -> Result<String, String> {
    let token = match (&bearer.env, &bearer.file) {
        (Some(name), None) => {
            std::env::var(name).map_err(|_| format!("bearer.env: variable {name} is not set"))?
        }
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| format!("bearer.file: cannot read {}: {error}", path.display()))?,
        _ => return Err("bearer: expected either env or file".into()),
    };
    let token = token.trim();
    if token.is_empty() || token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("bearer: expected one token for {}, found none or several words", bearer.host));
    }
    Ok(token.to_owned())
}

/// The netrc file: the one named, else `$NETRC`, else `~/.netrc`; the last two may be missing.
fn logins(section: &Download) -> Result<BTreeMap<String, (String, String)>, String> {
    let named = section.netrc.as_ref();
    let usual = || {
        let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".netrc"));
        std::env::var_os("NETRC").map(PathBuf::from).or_else(home).filter(|path| path.is_file())
    };
    let Some(path) = named.cloned().or_else(usual) else { return Ok(BTreeMap::new()) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("netrc: cannot read {}: {error}", path.display()))?;
    Ok(parse_netrc(&text))
}

/// `machine <host> login <name> password <word>`, in any layout; `default` and macros are left out: a login is for a
/// host that is named.
fn parse_netrc(text: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut host: Option<String> = None;
    let mut in_macro = false;
    for line in text.lines() {
        in_macro &= !line.trim().is_empty();
        if in_macro {
            continue;
        }
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "machine" => host = words.next().map(str::to_lowercase),
                "default" => host = None,
                "macdef" => {
                    in_macro = true;
                    break;
                }
                "login" | "password" | "account" => {
                    let (Some(value), Some(host)) = (words.next(), &host) else { continue };
                    let entry = found.entry(host.clone()).or_default();
                    match word {
                        "login" => entry.0 = value.to_owned(),
                        "password" => entry.1 = value.to_owned(),
                        _ => {}
                    }
                }
                word if word.starts_with('#') => break,
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn netrc_in_any_layout() {
        let text = "# mine\nmachine urs.earthdata.nasa.gov login me password p#1\nmachine b\n  login you\n  password q\n\
                    macdef init\nmachine evil login x password y\n\ndefault login anonymous password guest\n";
        let found = parse_netrc(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["b", "urs.earthdata.nasa.gov"]);
        assert_eq!(found["urs.earthdata.nasa.gov"], ("me".into(), "p#1".into()));
        assert_eq!(found["b"], ("you".into(), "q".into()));
    }

    #[test]
    fn a_secret_is_sent_to_its_host_over_a_private_line_only() {
        let credentials = Credentials {
            bearers: [("data.example".to_owned(), "t0ken".to_owned())].into(),
            logins: [("login.example".to_owned(), ("me".to_owned(), "p".to_owned()))].into(),
            sas: None,
        };
        let client = reqwest::Client::new();
        let header = |text: &str| {
            let request = credentials.authorize(client.get(url(text)), &url(text)).build().unwrap();
            request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("https://data.example/a").as_deref(), Some("Bearer t0ken"));
        assert_eq!(header("https://login.example/").as_deref(), Some("Basic bWU6cA=="));
        assert_eq!(header("http://data.example/a"), None, "in plain text");
        assert_eq!(header("https://evil.data.example/a"), None);
        assert_eq!(header("https://data.example.evil/a"), None);
        assert!(!format!("{credentials:?}").contains("t0ken"));
    }

    #[test]
    fn addresses_of_this_machine_and_its_network_are_known() {
        for here in [
            "http://127.0.0.1:8/",
            "http://localhost/",
            "http://[::1]/",
            "http://169.254.169.254/",
            "http://10.0.0.8/",
            "http://localhost./",
            "http://2130706433/",
            "http://[::]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
        ] {
            assert!(is_here(&url(here)), "{here}");
        }
        for away in [
            "https://example.org/",
            "https://8.8.8.8/",
            "https://localhost.example/",
            "http://[::ffff:8.8.8.8]/",
        ] {
            assert!(!is_here(&url(away)), "{away}");
        }
    }
}
