//! Why a message was not worked on, and what is to become of it.

use std::fmt::Display;
use std::time::Duration;

use super::super::Settle;

/// Why a handler did not do its message. Made from any error by `?`; then the message is tried again
/// after its topic's back-off.
///
/// It is no error itself, so that every error can become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    reason: String,
    delay: Option<Duration>,
    rejected: bool,
}

impl HandlerError {
    /// It is tried again, after its topic's back-off or after [`delay`](Self::delay).
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), delay: None, rejected: false }
    }

    /// It will never go right: it is dead at once.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { rejected: true, ..Self::retry(reason) }
    }

    /// Not tried again before.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_rejected(&self) -> bool {
        self.rejected
    }

    pub(super) fn settle(&self, receipt: &str) -> Settle {
        if self.rejected {
            return Settle::reject(receipt).reason(&self.reason);
        }
        let nack = Settle::nack(receipt).reason(&self.reason);
        match self.delay {
            Some(delay) => nack.delay(delay),
            None => nack,
        }
    }
}

impl<E: Display> From<E> for HandlerError {
    fn from(error: E) -> Self {
        // With an empty one nobody would know that something was said.
        let reason = error.to_string();
        Self::retry(if reason.is_empty() { "failed".to_owned() } else { reason })
    }
}
