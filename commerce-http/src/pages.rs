//! Pages for people: the document in a browser, with the calls ready to try.

use crate::call::Reply;
use std::borrow::Cow;

/// A page, or a part of one.
pub(crate) struct Page {
    pub(crate) path: &'static str,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

/// Every page there is.
pub(crate) static PAGES: &[Page] = &[
    Page { path: "/", status: 302, headers: &[("Location", "/docs")], body: b"" },
    Page {
        path: "/docs",
        status: 200,
        headers: &[("Content-Type", "text/html; charset=utf-8")],
        body: b"<!doctype html><title>commerce</title>",
    },
];

impl Page {
    pub(crate) fn reply(&self) -> Reply {
        let headers = self.headers.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
        Reply { status: self.status, headers: headers.collect(), body: Cow::Borrowed(self.body) }
    }
}
