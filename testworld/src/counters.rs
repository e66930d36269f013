//! What the server has done so far, counted while it does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// Most bytes of a file that are handed to a connection at once.
const PIECE: usize = 64 << 10;

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeStats {
    /// Requests received.
    pub requests: u64,
    /// Bytes of files in answers: the whole length of an answer, also where the client hangs up early.
    pub file_bytes: u64,
    /// Bytes of files handed to connections, in pieces of at most 64 KiB. Where a client hangs up early, up to 16
    /// pieces may still have been waiting in the server.
    pub sent_bytes: u64,
    /// Answers that were made to fail.
    pub faults: u64,
    /// Time between a request (after the latency on purpose) and its answer's headers, added up over all requests.
    pub busy: Duration,
}

/// The counters behind [`ServeStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    file_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    faults: AtomicU64,
    busy_ns: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> ServeStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServeStats {
            requests: value(&self.requests),
            file_bytes: value(&self.file_bytes),
            sent_bytes: value(&self.sent_bytes),
            faults: value(&self.faults),
            busy: Duration::from_nanos(value(&self.busy_ns)),
        }
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn file(&self, bytes: usize) {
        self.file_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn busy(&self, time: Duration) {
        self.busy_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Marks an answer whose body is a file.
#[derive(Clone, Copy)]
pub(crate) struct FileBody;

/// Counts the body of a file piece by piece as the connection takes it; other answers pass as they are.
pub(crate) fn count_pieces(response: Response, counters: &Arc<Counters>) -> Response {
    if response.extensions().get::<FileBody>().is_none() {
        return response;
    }
    let counters = Arc::clone(counters);
    response.map(|body| {
        let pieces = body.into_data_stream().flat_map(|part| match part {
            Ok(bytes) => stream::iter(pieces(bytes).map(Ok)).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        });
        Body::from_stream(pieces.inspect_ok(move |piece| {
            counters.sent_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }))
    })
}

/// Cuts shared bytes without copying them.
fn pieces(mut rest: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_without_a_copy() {
        let whole = Bytes::from((0..150_000u32).map(|i| i as u8).collect::<Vec<u8>>());
        let cut: Vec<Bytes> = pieces(whole.clone()).collect();
        assert_eq!(cut.iter().map(Bytes::len).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
        assert_eq!(cut.concat(), whole);
        assert_eq!(cut[1].as_ptr(), whole[65_536..].as_ptr());
        assert_eq!(pieces(Bytes::new()).count(), 0);
    }
}
