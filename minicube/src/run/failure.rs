//! A failure that ends a stage: one `error:` line, one `hint:` line, exit code 2.

use std::fmt;

/// Why a stage could not run, and what to do about it.
#[derive(Clone, Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with a message: lower case, no final stop, naming file, variable, expected and found.
    pub fn new(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), hint: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The hint, if there is one.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Makes a failure from any error and its causes, with an optional hint.
    pub fn of(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Failure {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Failure { message, hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Failure {
        Failure::of(&error, error.hint())
    }
}
