//! The error of handlers.

use crate::problem::{HttpError, Problem};
use commerce_core::Error;

/// The error of a handler.
pub(crate) enum HandlerError {
    /// An error of the library.
    Rejection(Rejection),
    /// An error of HTTP.
    Problem(Box<Problem>),
    /// The path does not support the method; it supports these.
    Method(String),
}

impl HandlerError {
    pub(crate) fn http(error: HttpError, detail: impl Into<String>) -> Self {
        Self::problem(Problem::of_http(error, detail))
    }

    pub(crate) fn problem(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl<E: Into<Rejection>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Rejection(error.into())
    }
}

/// An error of the library, with the mark of a replay.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) error: Error,
    /// The error was stored under the idempotency key by an earlier call.
    pub(crate) replayed: bool,
}

impl<E: Into<Error>> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self { error: error.into(), replayed: false }
    }
}
