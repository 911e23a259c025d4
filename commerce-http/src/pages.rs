//! Pages for people: the document in a browser, with the calls ready to try.
//!
//! `assets/README.md` tells where Swagger UI comes from and how to renew it.

use crate::call::Reply;
use std::borrow::Cow;

/// A page, or a part of one.
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

/// What the browser may load: what this server has, and the pictures that stand in style sheets.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const JAVASCRIPT: (&str, &str) = ("Content-Type", "text/javascript; charset=utf-8");
const CSS: (&str, &str) = ("Content-Type", "text/css; charset=utf-8");

/// Sent as it is stored, whatever the client takes: every browser takes it, and nobody else asks.
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

/// For paths that hold a version: another version is found elsewhere.
const FOREVER: (&str, &str) = ("Cache-Control", "public, max-age=31536000, immutable");

/// Every page there is.
pub(crate) static PAGES: &[Page] = &[
    Page { path: "/", status: 302, headers: &[("Location", "/docs")], body: b"" },
    Page {
        path: "/docs",
        status: 200,
        headers: &[
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", POLICY),
        ],
        body: include_bytes!("../assets/docs.html"),
    },
    Page {
        path: "/docs/docs.css",
        status: 200,
        headers: &[CSS],
        body: include_bytes!("../assets/docs.css"),
    },
    Page {
        path: "/docs/docs.js",
        status: 200,
        headers: &[JAVASCRIPT],
        body: include_bytes!("../assets/docs.js"),
    },
    Page {
        path: "/docs/swagger-ui-5.35.0/swagger-ui.css",
        status: 200,
        headers: &[CSS, GZIP, FOREVER],
        body: include_bytes!("../assets/swagger-ui/swagger-ui.css.gz"),
    },
    Page {
        path: "/docs/swagger-ui-5.35.0/swagger-ui-bundle.js",
        status: 200,
        headers: &[JAVASCRIPT, GZIP, FOREVER],
        body: include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js.gz"),
    },
];

impl Page {
    pub(crate) fn reply(&self) -> Reply {
        let headers = self.headers.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
        Reply {
            status: self.status,
            headers: headers.collect(),
            body: Cow::Borrowed(self.body),
            detail: None,
        }
    }
}
