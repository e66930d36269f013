//! Ending a run in order when the system asks for it: the training loop saves its state first.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on SIGTERM and SIGINT end a run after the step under way, with its state saved; the second of them ends it
/// at once. Call once at the start of a program; it does nothing on systems without these signals.
#[expect(
    unsafe_code,
    reason = "signal is a C function; the handler only stores a flag and restores the default"
)]
pub fn stop_on_signals() {
    #[cfg(unix)]
    // SAFETY: the handler is a plain function that calls nothing but what may be called in a handler.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            libc::signal(signal, ask as extern "C" fn(libc::c_int) as libc::sighandler_t);
        }
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "signal may be called in a handler, and takes two numbers")]
extern "C" fn ask(signal: libc::c_int) {
    ASKED.store(true, Ordering::SeqCst);
    // SAFETY: signal is async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
}

/// Whether the run is to end.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails where the run is to end; `done` is what is saved.
pub(crate) fn check(model: &str, done: impl FnOnce() -> String) -> Result<(), Error> {
    if is_asked() {
        return Err(Error::Stopped { model: model.to_owned(), done: done() });
    }
    Ok(())
}
