//! An S3 server on loopback over a temporary folder, which checks signatures and notes what it was asked for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The keys that the server knows.
pub const KEYS: [&str; 2] = ["minicube-test", "secret-of-the-test"];

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `HEAD`, `PUT`, `POST` or `DELETE`.
    pub method: String,
    /// `/<bucket>/<key>`.
    pub path: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// Length of the answer's body.
    pub bytes: u64,
}

/// A running server; it ends with the value.
pub struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    notes: Arc<Notes>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<Asked>>,
    put_delay_ms: AtomicU64,
}

impl Server {
    /// Starts a server with these buckets.
    ///
    /// # Errors
    /// Those of the socket or the folder.
    pub fn start(buckets: &[&str]) -> io::Result<Server> {
        let folder = tempfile::tempdir()?;
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket))?;
        }
        let files = FileSystem::new(folder.path()).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEYS[0], KEYS[1]));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let notes = Arc::new(Notes::default());
        runtime.spawn(serve(listener, service, notes.clone()));
        Ok(Server { address, folder, notes, _runtime: runtime })
    }

    /// The variables of the environment that lead to this server.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let [id, secret] = KEYS;
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address).as_str()),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The folder of a bucket, as the server keeps it.
    #[must_use]
    pub fn folder(&self, bucket: &str) -> PathBuf {
        self.folder.path().join(bucket)
    }

    /// What was asked for since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.notes.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits so long before each object is taken.
    pub fn delay_puts(&self, milliseconds: u64) {
        self.notes.put_delay_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Starts a program that sends to this server and kills it once it has sent so many objects; whether it was still at work.
    ///
    /// # Errors
    /// Those of starting and killing it.
    pub fn kill_after(&self, objects: usize, program: &mut Command) -> io::Result<bool> {
        self.asked();
        self.delay_puts(20);
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut sent = 0;
        while sent < objects && child.try_wait()?.is_none() {
            sent += self.asked().iter().filter(|asked| asked.method == "PUT").count();
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        self.delay_puts(0);
        Ok(!child.wait()?.success())
    }
}

/// A program that is told these settings, as those of [`Server::settings`], and no others.
pub fn command(program: &str, settings: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("AWS_")) {
        command.env_remove(key);
    }
    command.env("NO_PROXY", "127.0.0.1").envs(settings.iter().cloned());
    command
}

async fn serve(listener: TcpListener, service: S3Service, notes: Arc<Notes>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (service, notes) = (service.clone(), notes.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let (service, notes) = (service.clone(), notes.clone());
            async move { Ok::<_, Infallible>(answer(&service, &notes, request).await) }
        });
        tokio::spawn(async move {
            // A client that goes away is its own business.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(service: &S3Service, notes: &Notes, request: Request<Incoming>) -> s3s::HttpResponse {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let range = request.headers().get(header::RANGE).map(text);
    if method == "PUT" {
        tokio::time::sleep(Duration::from_millis(notes.put_delay_ms.load(Ordering::Relaxed))).await;
    }
    let response = match Service::call(service, request).await {
        Ok(response) => response,
        Err(_) => {
            let mut broken = s3s::HttpResponse::new(s3s::Body::empty());
            *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            broken
        }
    };
    let length = response.headers().get(header::CONTENT_LENGTH).map(text);
    let bytes = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let asked = Asked { method, path, range, status: response.status().as_u16(), bytes };
    notes.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    response
}
