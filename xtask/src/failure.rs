//! What goes wrong, in two lines: `error:` says what, `hint:` says what to do.

use std::fmt;
use std::process::ExitCode;

/// An error that knows its remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a hint, ready for `?` or `bail`-like returns.
pub(crate) fn fail(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure { message: message.into(), hint: hint.into() }.into()
}

/// Prints the error and its hint; exit code 2, "could not run".
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    if let Some(hint) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map(|f| &f.hint) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(2)
}
