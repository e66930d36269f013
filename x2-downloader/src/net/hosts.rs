//! What each host is asked at most, and what it has sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

/// All hosts that were asked so far.
#[derive(Debug)]
pub(crate) struct Hosts {
    connections: usize,
    /// Between the starts of two requests; zero for no limit.
    spacing: Duration,
    known: Mutex<BTreeMap<String, Arc<Host>>>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    connections: Arc<Semaphore>,
    spacing: Duration,
    next_start: tokio::sync::Mutex<Instant>,
    pub(crate) requests: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// What went over the network from and to a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) bytes: u64,
}

impl Hosts {
    /// `requests_per_s` of 0 is no limit.
    pub(crate) fn new(connections: usize, requests_per_s: f64) -> Hosts {
        let spacing =
            if requests_per_s > 0.0 { Duration::from_secs_f64(1.0 / requests_per_s) } else { Duration::ZERO };
        Hosts { connections, spacing, known: Mutex::default() }
    }

    pub(crate) fn of(&self, url: &Url) -> Arc<Host> {
        let name = name(url);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name).or_insert_with(|| {
            Arc::new(Host {
                connections: Arc::new(Semaphore::new(self.connections)),
                spacing: self.spacing,
                next_start: tokio::sync::Mutex::new(Instant::now()),
                requests: AtomicU64::new(0),
                retries: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            })
        }))
    }

    /// By host, ascending by name.
    pub(crate) fn traffic(&self) -> Vec<(String, Traffic)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(name, host)| (name.clone(), host.traffic())).collect()
    }

    pub(crate) fn total(&self) -> Traffic {
        self.traffic().into_iter().fold(Traffic::default(), |sum, (_, one)| Traffic {
            requests: sum.requests + one.requests,
            retries: sum.retries + one.retries,
            bytes: sum.bytes + one.bytes,
        })
    }
}

impl Host {
    /// Waits for a free connection and for the host's turn.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        if !self.spacing.is_zero() {
            let mut next = self.next_start.lock().await;
            let start = (*next).max(Instant::now());
            *next = start + self.spacing;
            drop(next);
            tokio::time::sleep_until(start).await;
        }
        permit
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Host, with the port where it is not the scheme's own.
fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_is_not_asked_more_often_than_allowed() {
        let hosts = Hosts::new(4, 10.0);
        let host = hosts.of(&Url::parse("https://host/a").unwrap());
        let start = Instant::now();
        for _ in 0..5 {
            drop(host.turn().await);
        }
        assert_eq!(
            start.elapsed(),
            Duration::from_millis(400),
            "five starts have four pauses of 100 ms between"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_host_does_not_hold_up_another() {
        let hosts = Hosts::new(1, 0.0);
        let (slow, quick) = ("https://slow/", "https://quick:8080/");
        let (slow, quick) = (hosts.of(&Url::parse(slow).unwrap()), hosts.of(&Url::parse(quick).unwrap()));
        let held = slow.turn().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), slow.turn()).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(1), quick.turn()).await.is_ok());
        drop(held);
        quick.bytes.fetch_add(5, Ordering::Relaxed);
        assert_eq!(hosts.traffic()[0].0, "quick:8080");
        assert_eq!(hosts.total().bytes, 5);
    }
}
