//! Pages for people: the document in a browser, with the calls ready to try.
//!
//! `assets/README.md` tells where Swagger UI comes from and how to renew it.

use crate::context::Success;
use crate::problem::{Kind, kinds};
use serde_json::json;
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
    pub(crate) fn reply(&self) -> Success {
        let headers = self.headers.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
        Success {
            status: self.status,
            headers: headers.collect(),
            body: Cow::Borrowed(self.body),
            detail: None,
        }
    }
}

/// What the kinds of problems mean: the one of that code, or all of them; none when there is no such code. Browsers
/// get a page, everything else JSON.
pub(crate) fn problems(code: Option<&str>, accept: &str) -> Option<Success> {
    let wanted: Vec<Kind> =
        kinds().filter(|kind| code.is_none_or(|code| code == kind.code)).collect();
    if wanted.is_empty() {
        return None;
    }
    let reply = if accept.contains("text/html") {
        let rows: String = wanted.iter().map(row).collect();
        let page = include_str!("../assets/problems.html").replace("{{problems}}", &rows);
        Success::text("text/html; charset=utf-8", page).with("Content-Security-Policy", POLICY)
    } else {
        let shown = |kind: &Kind| {
            let Kind { code, status, title, help } = kind;
            json!({ "type": index(kind), "code": code, "status": status, "title": title, "help": help })
        };
        match (code, wanted.first()) {
            (Some(_), Some(kind)) => Success::ok(&shown(kind)),
            _ => Success::ok(&json!({ "items": wanted.iter().map(shown).collect::<Vec<_>>() })),
        }
    };
    Some(reply.with("Vary", "Accept"))
}

/// The `type` of problems of that kind.
fn index(kind: &Kind) -> String {
    format!("/problems/{}", kind.code)
}

/// One kind as HTML. What it is made of is this program's own.
fn row(kind: &Kind) -> String {
    let Kind { code, status, title, help } = kind;
    let marked: Vec<&str> = help.split('`').collect();
    let marked: String = marked
        .iter()
        .enumerate()
        .map(
            |(index, part)| {
                if index % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() }
            },
        )
        .collect();
    format!(
        "<section><h2>{title}</h2><p><a href=\"{}\"><code>{code}</code></a>, HTTP {status}</p><p>{marked}</p></section>\n",
        index(kind)
    )
}
