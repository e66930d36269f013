//! A small HTTP server on loopback, one thread a connection, closing after every answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path with query.
    pub target: String,
    pub range: Option<(usize, usize)>,
    pub authorization: Option<String>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// An answer.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Send only so many bytes of the body, then close.
    pub cut: Option<usize>,
    /// Wait so long before closing.
    pub hold: Duration,
}

impl Response {
    pub fn ok(body: impl Into<Vec<u8>>) -> Response {
        Response { status: 200, headers: Vec::new(), body: body.into(), cut: None, hold: Duration::ZERO }
    }

    pub fn status(status: u16) -> Response {
        Response { status, ..Response::ok("") }
    }

    pub fn header(mut self, name: &str, value: &str) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A file, or the part of it that was asked for.
    pub fn file(request: &Request, bytes: &[u8]) -> Response {
        let response = match request.range {
            Some((from, _)) if from >= bytes.len() => Response::status(416),
            Some((from, to)) => {
                let to = (to + 1).min(bytes.len());
                let range = format!("bytes {from}-{}/{}", to - 1, bytes.len());
                Response { status: 206, ..Response::ok(&bytes[from..to]) }.header("Content-Range", &range)
            }
            None => Response::ok(bytes),
        };
        response.header("ETag", &format!("\"{}\"", minicube::sha256_bytes(bytes)))
    }
}

pub struct TestServer {
    pub base: String,
    requests: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<Request>>>,
}

impl TestServer {
    pub fn start(answer: impl Fn(&str, &Request) -> Response + Send + Sync + 'static) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let log = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let (count, seen, root) = (Arc::clone(&requests), Arc::clone(&log), base.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, count, seen, root) = (answer.clone(), count.clone(), seen.clone(), root.clone());
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream) {
                        count.fetch_add(1, Ordering::SeqCst);
                        seen.lock().unwrap().push(request.clone());
                        write(stream, answer(&root, &request));
                    }
                });
            }
        });
        TestServer { base, requests, log }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut range, mut authorization, mut headers) = (0, None, None, Vec::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                range = Some((from.parse().ok()?, to.parse().unwrap_or(usize::MAX - 1)));
            }
            _ => {}
        }
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into();
    Some(Request { method, target, range, authorization, headers, body })
}

fn write(mut stream: TcpStream, response: Response) {
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", response.status);
    head.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = &response.body[..response.cut.unwrap_or(response.body.len())];
    // The client may have gone away.
    let _ =
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
    std::thread::sleep(response.hold);
}
