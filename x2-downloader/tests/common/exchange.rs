//! Recorded searches of real catalogues, answered again by a server of the tests' own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::server::{Request, Response, TestServer};

/// Hosts of the catalogues that were recorded and of their files: all of them become the test server.
const HOSTS: [&str; 6] = [
    "https://earth-search.aws.element84.com",
    "https://planetarycomputer.microsoft.com",
    "https://sentinel-cogs.s3.us-west-2.amazonaws.com",
    "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
    "https://sentinel2l2a01.blob.core.windows.net",
    "https://naipeuwest.blob.core.windows.net",
];

/// A document with all recorded hosts replaced.
pub fn rehosted(text: &str, base: &str) -> String {
    HOSTS.iter().fold(text.to_owned(), |text, host| text.replace(host, base))
}

/// A search as it was recorded: what was posted and what was answered, page by page.
#[derive(Clone)]
pub struct Recording {
    /// Path of the search, e.g. `/v1/search`.
    pub path: String,
    pub asked: Vec<Value>,
    pub pages: Vec<Value>,
}

impl Recording {
    /// The searches of an `index.json`; requests of other kinds are left out.
    pub fn read(folder: &Path) -> Recording {
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
        let mut found = Recording { path: String::new(), asked: Vec::new(), pages: Vec::new() };
        for entry in index.as_array().unwrap().iter().filter(|entry| entry["method"] == "POST") {
            let page = fs::read(folder.join(entry["body_file"].as_str().unwrap())).unwrap();
            let address = url::Url::parse(entry["uri"].as_str().unwrap()).unwrap();
            found.path = address.path().to_owned();
            found.asked.push(serde_json::from_str(entry["request_body"].as_str().unwrap()).unwrap());
            found.pages.push(serde_json::from_slice(&page).unwrap());
        }
        found
    }

    /// What the link of a page says to post for the next one.
    pub fn next_body(&self, page: usize) -> Option<&Value> {
        next_link(self.pages.get(page)?).map(|link| &link["body"])
    }

    /// The page that a token leads to; an empty one behind the last that was recorded.
    fn page(&self, token: Option<&str>) -> Value {
        let is_asked = |asked: &&Value| token_of(asked).as_deref() == token;
        let known = self.asked.iter().zip(&self.pages).find(|(asked, _)| is_asked(asked));
        known.map_or_else(|| json!({"type": "FeatureCollection", "features": []}), |(_, page)| page.clone())
    }

    /// Answers as recorded.
    pub fn serve(self) -> TestServer {
        TestServer::start(move |base, request| {
            if (request.method.as_str(), request.target.as_str()) != ("POST", &self.path) {
                return Response::status(404);
            }
            let body: Value = serde_json::from_str(&request.body).unwrap();
            Response::ok(rehosted(&self.page(token_of(&body).as_deref()).to_string(), base))
        })
    }

    /// The same pages from a server that knows no POST: the links have everything in their address.
    pub fn serve_by_get(self) -> TestServer {
        TestServer::start(move |base, request| match request.target.split_once('?') {
            _ if request.method == "POST" => Response::status(405),
            Some((path, query)) if path == self.path => {
                let token = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token");
                let mut page = self.page(token.as_ref().map(|(_, token)| token.as_ref()));
                if let Some(token) = next_link(&page).and_then(|link| token_of(&link["body"])) {
                    let mut query = url::form_urlencoded::Serializer::new(String::new());
                    let href = format!("{base}{path}?{}", query.append_pair("token", &token).finish());
                    page["links"] = json!([{"rel": "next", "method": "GET", "href": href}]);
                }
                Response::ok(rehosted(&page.to_string(), base))
            }
            _ => Response::status(404),
        })
    }
}

fn next_link(page: &Value) -> Option<&Value> {
    page["links"].as_array()?.iter().find(|link| link["rel"] == "next")
}

/// What tells a page from another: `next` (Earth Search v1), `token` (Planetary Computer) or `page` (v0).
fn token_of(body: &Value) -> Option<String> {
    ["next", "token", "page"].iter().find_map(|key| match &body[*key] {
        Value::String(token) => Some(token.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Paths of the files that a server was asked for.
pub fn files_asked(log: &[Request]) -> BTreeSet<String> {
    log.iter().map(|request| request.target.clone()).filter(|target| target.contains(".tif")).collect()
}
