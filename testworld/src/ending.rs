//! When the server ends.

/// Waits until the process is told to end: Ctrl-C, or SIGTERM on Unix.
#[cfg(unix)]
pub(crate) async fn told_to_end() {
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

/// Waits until the process is told to end.
#[cfg(not(unix))]
pub(crate) async fn told_to_end() {
    let _ = tokio::signal::ctrl_c().await;
}
