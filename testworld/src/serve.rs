//! The HTTP server: options, routes and their answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::answer::{file_answer, listing};
use crate::counters::{Counters, FileBody, ServeStats};
use crate::ending::told_to_end;
use crate::faults::{FaultPlan, FaultSpec};
use crate::item::{COLLECTION, collection, item};
use crate::library::{Entry, Library};
use crate::misbehave::misbehave;
use crate::search::{Verb, from_query, search};
use crate::world::World;
use crate::{Error, Region, cmr, sas};

/// Address of the counters.
pub(crate) const STATS: &str = "/stats";
/// Address that makes the server forget which requests have failed already.
pub(crate) const FORGET: &str = "/faults/forget";

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Loopback port; 0 takes any free one.
    pub port: u16,
    /// Faults on purpose.
    pub faults: FaultSpec,
    /// Waiting time before every answer.
    pub latency: Duration,
    /// Folder that keeps every file made, for the next server of the same seed.
    pub cache: Option<PathBuf>,
    /// Bytes of files kept in memory.
    pub memory_bytes: usize,
    /// Whether Sentinel-2 tiles are full: the active window's pixels are repeated over the whole tile, and files have
    /// the size of real ones.
    pub fill: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            port: 0,
            faults: FaultSpec::default(),
            latency: Duration::ZERO,
            cache: None,
            memory_bytes: 256 << 20,
            fill: false,
        }
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    base_url: String,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// `http://127.0.0.1:<port>`, without trailing slash.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Address of the STAC API, `<base>/stac`.
    #[must_use]
    pub fn stac_url(&self) -> String {
        format!("{}/stac", self.base_url)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> ServeStats {
        self.shared.counters.read()
    }

    /// Serves until the process is told to end (Ctrl-C, or SIGTERM on Unix).
    pub fn wait(&self) {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(told_to_end());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the server has already ended.
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) faults: FaultPlan,
    pub(crate) latency: Duration,
    pub(crate) counters: Arc<Counters>,
    library: Arc<Library>,
    base_url: String,
}

/// Serves a world on 127.0.0.1 from threads of its own; usable from code with or without a runtime.
///
/// # Errors
/// [`Error::Listen`] if the port is taken or the runtime cannot start.
pub fn serve(world: World, options: ServeOptions) -> Result<Server, Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let failed = |source| Error::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let base_url = format!("http://{}", listener.local_addr().map_err(failed)?);
    let shared = Arc::new(Shared {
        faults: FaultPlan::new(options.faults, world.seed()),
        library: Arc::new(Library::new(world.clone(), options.cache, options.memory_bytes, options.fill)),
        world,
        latency: options.latency,
        base_url: base_url.clone(),
        counters: Arc::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("testworld")
        .enable_all()
        .build()
        .map_err(failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = router(Arc::clone(&shared));
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed)?
    };
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for an acknowledgement; a failure only costs time.
        let _ = stream.set_nodelay(true);
    });
    runtime.spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        axum::serve(listener, app).with_graceful_shutdown(until).await
    });
    Ok(Server { base_url, shared, runtime: Some(runtime), stop: Some(stop) })
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route(STATS, get(stats))
        .route(FORGET, post(forget))
        .route("/sas/token/{*name}", get(token))
        .route("/cmr/search/granules.json", get(granules).post(granules))
        .route("/stac", get(landing))
        .route("/stac/", get(landing))
        .route("/stac/conformance", get(|| async { Json(json!({ "conformsTo": CONFORMANCE })) }))
        .route("/stac/collections", get(collections))
        .route("/stac/collections/{id}", get(one_collection))
        .route("/stac/collections/{id}/items", get(collection_items))
        .route("/stac/collections/{id}/items/{item}", get(one_item))
        .route("/stac/search", get(get_search).post(post_search))
        .fallback(file)
        .layer(from_fn_with_state(Arc::clone(&shared), misbehave))
        .with_state(shared)
}

const CONFORMANCE: [&str; 6] = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
];

type App = State<Arc<Shared>>;

async fn index(State(app): App) -> Response {
    let lines: String = ["stac", "smap/", "era5/", "dem/", "landcover/", "climate/"]
        .iter()
        .map(|name| format!("<li><a href=\"/{name}\">{name}</a></li>\n"))
        .collect();
    html(format!(
        "<h1>testworld</h1>\n<p>A synthetic Earth, seed {}.</p>\n<ul>\n{lines}</ul>\n",
        app.world.seed()
    ))
}

/// The counters since the start, without the questions for them.
async fn stats(State(app): App) -> Json<Value> {
    let ServeStats { requests, file_bytes, sent_bytes, faults, busy } = app.counters.read();
    Json(json!({
        "requests": requests,
        "file_bytes": file_bytes,
        "sent_bytes": sent_bytes,
        "faults": faults,
        "busy_s": busy.as_secs_f64(),
    }))
}

/// Lets every fault strike anew.
async fn forget(State(app): App) -> StatusCode {
    app.faults.forget();
    StatusCode::NO_CONTENT
}

/// A token for the signed folder, whatever it is asked for.
async fn token(State(app): App) -> Response {
    match app.faults.spec.token {
        Some(lifetime) => Json(sas::issue(app.world.seed(), Utc::now(), lifetime)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "this server needs no tokens"),
    }
}

async fn landing(State(app): App) -> Json<Value> {
    let api = format!("{}/stac", app.base_url);
    let link = |rel: &str, path: &str, kind: &str| json!({ "rel": rel, "type": kind, "href": format!("{api}{path}") });
    Json(json!({
        "stac_version": "1.0.0",
        "type": "Catalog",
        "id": "testworld",
        "title": "testworld",
        "description": "A synthetic Earth with known vegetation dynamics",
        "conformsTo": CONFORMANCE,
        "links": [
            link("self", "", "application/json"),
            link("root", "", "application/json"),
            link("conformance", "/conformance", "application/json"),
            link("data", "/collections", "application/json"),
            { "rel": "search", "type": "application/geo+json", "href": format!("{api}/search"), "method": "GET" },
            { "rel": "search", "type": "application/geo+json", "href": format!("{api}/search"), "method": "POST" },
            link("child", &format!("/collections/{COLLECTION}"), "application/json"),
        ],
    }))
}

async fn collections(State(app): App) -> Json<Value> {
    let api = format!("{}/stac", app.base_url);
    Json(json!({
        "collections": [collection(&app.world, &app.base_url)],
        "links": [
            { "rel": "self", "type": "application/json", "href": format!("{api}/collections") },
            { "rel": "root", "type": "application/json", "href": api },
        ],
    }))
}

async fn one_collection(State(app): App, uri: Uri) -> Response {
    if uri.path().ends_with(COLLECTION) {
        Json(collection(&app.world, &app.base_url)).into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "collection not found")
    }
}

async fn one_item(State(app): App, uri: Uri) -> Response {
    let known = uri.path().strip_prefix("/stac/collections/").and_then(|rest| rest.strip_prefix(COLLECTION));
    let id = known.and_then(|rest| rest.strip_prefix("/items/"));
    let mut scenes = Region::ALL.iter().flat_map(|&region| app.world.scenes(region));
    match id.and_then(|id| scenes.find(|scene| scene.id == id)) {
        Some(scene) => geojson(item(&app.world, &app.base_url, scene)),
        None => problem(StatusCode::NOT_FOUND, "item not found"),
    }
}

async fn collection_items(State(app): App, uri: Uri) -> Response {
    if !uri.path().ends_with(&format!("/{COLLECTION}/items")) {
        return problem(StatusCode::NOT_FOUND, "collection not found");
    }
    answer_get(&app, &uri)
}

async fn get_search(State(app): App, uri: Uri) -> Response {
    answer_get(&app, &uri)
}

fn answer_get(app: &Shared, uri: &Uri) -> Response {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
    match from_query(pairs) {
        Ok(request) => answer_search(app, uri.path(), Verb::Get, request),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

async fn post_search(State(app): App, uri: Uri, body: Bytes) -> Response {
    match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(request) => answer_search(&app, uri.path(), Verb::Post, request),
        Err(error) => problem(StatusCode::BAD_REQUEST, &format!("the body is not a JSON object: {error}")),
    }
}

fn answer_search(app: &Shared, path: &str, verb: Verb, request: Map<String, Value>) -> Response {
    let href = format!("{}{path}", app.base_url);
    match search(&app.world, &app.base_url, &href, verb, request) {
        Ok(page) => geojson(page),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

/// A search for SMAP granules; a POST has its parameters in the body, in the form of a query.
async fn granules(State(app): App, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let refused =
        |status: StatusCode, reason: String| (status, Json(json!({ "errors": [reason] }))).into_response();
    let size = match app.library.granule_bytes().await {
        Ok(size) => size,
        Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let query = uri.query().unwrap_or_default().as_bytes();
    let pairs = [query, &body].into_iter().flat_map(|part| url::form_urlencoded::parse(part).into_owned());
    let after = headers.get(cmr::SEARCH_AFTER).and_then(|value| value.to_str().ok());
    match cmr::granules(pairs, after, &app.base_url, size) {
        Err(reason) => refused(StatusCode::BAD_REQUEST, reason),
        Ok(page) => {
            let mut response = ([(cmr::HITS, page.hits.to_string())], Json(page.body)).into_response();
            if let Some(token) = page.search_after.and_then(|token| token.parse().ok()) {
                response.headers_mut().insert(cmr::SEARCH_AFTER, token);
            }
            response
        }
    }
}

/// Everything that is not the STAC API: files and Apache-style listings of folders.
async fn file(State(app): App, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    let path = uri.path().trim_start_matches('/');
    match app.library.entry(path) {
        None => problem(StatusCode::NOT_FOUND, &format!("no such file: /{path}")),
        Some(Entry::Folder(_)) if !path.ends_with('/') => {
            (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, format!("/{path}/"))]).into_response()
        }
        Some(Entry::Folder(names)) => html(listing(path, &names)),
        Some(Entry::File(source)) => match app.library.file(path, &source).await {
            Ok(rope) => {
                let tag = app.library.tag(path, &source, &rope);
                let (mut answer, length) = file_answer(path, &tag, &rope, &method, &headers);
                app.counters.file(length);
                if length > 0 {
                    answer.extensions_mut().insert(FileBody);
                }
                answer
            }
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
    }
}

fn html(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/html;charset=UTF-8")], body).into_response()
}

fn geojson(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/geo+json; charset=utf-8")], value.to_string()).into_response()
}

/// An error in the form of STAC API.
pub(crate) fn problem(status: StatusCode, description: &str) -> Response {
    let code = status.canonical_reason().unwrap_or_default().replace(' ', "");
    (status, Json(json!({ "code": code, "description": description }))).into_response()
}
