//! The HTTP server: routes, counters, faults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::answer::{file_answer, listing};
use crate::faults::{Fault, FaultPlan, FaultSpec};
use crate::hash::{mix, text};
use crate::item::{COLLECTION, collection, item};
use crate::library::{Entry, Library};
use crate::search::{Verb, from_query, search};
use crate::world::World;
use crate::{Error, Region};

const LARGEST_REQUEST: usize = 4 << 20;

/// Address of the counters.
const STATS: &str = "/stats";

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
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            port: 0,
            faults: FaultSpec::default(),
            latency: Duration::ZERO,
            cache: None,
            memory_bytes: 256 << 20,
        }
    }
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeStats {
    /// Requests received.
    pub requests: u64,
    /// Bytes of files in answers (ranges counted as sent, without headers).
    pub file_bytes: u64,
    /// Answers that were made to fail.
    pub faults: u64,
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

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    file_bytes: AtomicU64,
    faults: AtomicU64,
}

impl Counters {
    fn read(&self) -> ServeStats {
        ServeStats {
            requests: self.requests.load(Ordering::Relaxed),
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
struct Shared {
    world: World,
    library: Arc<Library>,
    faults: FaultPlan,
    latency: Duration,
    base_url: String,
    counters: Counters,
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
        library: Arc::new(Library::new(world.clone(), options.cache, options.memory_bytes)),
        world,
        latency: options.latency,
        base_url: base_url.clone(),
        counters: Counters::default(),
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

#[cfg(unix)]
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn told_to_end() {
    let _ = tokio::signal::ctrl_c().await;
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route(STATS, get(stats))
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
    let ServeStats { requests, file_bytes, faults } = app.counters.read();
    Json(json!({ "requests": requests, "file_bytes": file_bytes, "faults": faults }))
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
        Some(Entry::File(source)) => match app.library.bytes(path, source).await {
            Ok(bytes) => {
                let tag = format!("\"{:016x}\"", mix(app.world.seed(), &[text(path), bytes.len() as u64]));
                let answer = file_answer(path, &tag, &bytes, &method, &headers);
                if method == Method::GET {
                    let length = answer.headers().get(header::CONTENT_LENGTH);
                    let sent = length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
                    app.counters.file_bytes.fetch_add(sent, Ordering::Relaxed);
                }
                answer
            }
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
    }
}

/// Counts, waits, and lets some answers fail.
async fn misbehave(State(app): App, request: Request, next: Next) -> Response {
    if request.uri().path() == STATS {
        return next.run(request).await;
    }
    app.counters.requests.fetch_add(1, Ordering::Relaxed);
    if !app.latency.is_zero() {
        tokio::time::sleep(app.latency).await;
    }
    if app.faults.spec.shares.is_empty() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let range = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let sent = String::from_utf8_lossy(&body);
    let is_search = parts.uri.path().starts_with("/stac/");
    let is_later_page =
        is_search && (sent.contains("\"next\"") || parts.uri.query().is_some_and(|q| q.contains("next=")));
    let name = format!("{} {} {range} {sent}", parts.method, parts.uri);
    let is_file = !is_search && !parts.uri.path().ends_with('/');
    let fault = app.faults.strike(&name, is_file, is_later_page);
    let request = Request::from_parts(parts, Body::from(body));
    match fault {
        None => next.run(request).await,
        Some(fault) => {
            app.counters.faults.fetch_add(1, Ordering::Relaxed);
            fail(&app, fault, request, next).await
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

fn html(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/html;charset=UTF-8")], body).into_response()
}

fn geojson(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/geo+json; charset=utf-8")], value.to_string()).into_response()
}

/// An error in the form of STAC API.
fn problem(status: StatusCode, description: &str) -> Response {
    let code = status.canonical_reason().unwrap_or_default().replace(' ', "");
    (status, Json(json!({ "code": code, "description": description }))).into_response()
}
