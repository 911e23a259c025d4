//! Pages for people: the API in Swagger UI, the reports, and the documentation of error codes.
//!
//! `assets/README.md` describes the origin of Swagger UI and uPlot, and how to update them.

use crate::context::Success;
use crate::problem::{Kind, kinds};
use serde_json::json;
use std::borrow::Cow;

/// A page or one of its assets.
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

/// The browser may load only files of this server, and images inlined in style sheets.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The same for the page of reports, which holds the token of an admin: nothing but scripts, styles and calls of this
/// server, and no text becomes script or markup.
const REPORT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                             require-trusted-types-for 'script'";

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");
const JAVASCRIPT: (&str, &str) = ("Content-Type", "text/javascript; charset=utf-8");
const CSS: (&str, &str) = ("Content-Type", "text/css; charset=utf-8");

/// Sent compressed without content negotiation: every browser supports gzip, and only browsers request these files.
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

/// For paths that contain a version: another version has another path.
const FOREVER: (&str, &str) = ("Cache-Control", "public, max-age=31536000, immutable");

/// All pages.
pub(crate) static PAGES: &[Page] = &[
    Page { path: "/", status: 302, headers: &[("Location", "/docs")], body: b"" },
    Page {
        path: "/docs",
        status: 200,
        headers: &[HTML, ("Content-Security-Policy", POLICY)],
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
    Page {
        path: "/report",
        status: 200,
        headers: &[
            HTML,
            ("Content-Security-Policy", REPORT_POLICY),
            ("Referrer-Policy", "no-referrer"),
        ],
        body: include_bytes!("../assets/report.html"),
    },
    Page {
        path: "/report/report.css",
        status: 200,
        headers: &[CSS],
        body: include_bytes!("../assets/report.css"),
    },
    Page {
        path: "/report/report.js",
        status: 200,
        headers: &[JAVASCRIPT],
        body: include_bytes!("../assets/report.js"),
    },
    Page {
        path: "/report/words.js",
        status: 200,
        headers: &[JAVASCRIPT],
        body: include_bytes!("../assets/words.js"),
    },
    Page {
        path: "/report/uplot-1.6.32/uPlot.min.css",
        status: 200,
        headers: &[CSS, GZIP, FOREVER],
        body: include_bytes!("../assets/uplot/uPlot.min.css.gz"),
    },
    Page {
        path: "/report/uplot-1.6.32/uPlot.iife.min.js",
        status: 200,
        headers: &[JAVASCRIPT, GZIP, FOREVER],
        body: include_bytes!("../assets/uplot/uPlot.iife.min.js.gz"),
    },
];

impl Page {
    pub(crate) fn response(&self) -> Success {
        let headers = self.headers.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
        Success {
            status: self.status,
            headers: headers.collect(),
            body: Cow::Borrowed(self.body),
            stream: None,
            log_detail: None,
        }
    }
}

/// The documentation of one error code or of all; `None` if the code does not exist. Browsers receive HTML, other
/// clients JSON.
pub(crate) fn problems(code: Option<&str>, accept: &str) -> Option<Success> {
    let selected: Vec<Kind> =
        kinds().filter(|kind| code.is_none_or(|code| code == kind.code)).collect();
    if selected.is_empty() {
        return None;
    }
    let response = if accept.contains("text/html") {
        let rows: String = selected.iter().map(section).collect();
        let page = include_str!("../assets/problems.html").replace("{{problems}}", &rows);
        Success::text("text/html; charset=utf-8", page.into_bytes())
            .with("Content-Security-Policy", POLICY)
    } else {
        let to_json = |kind: &Kind| {
            let Kind { code, status, title, help } = kind;
            json!({ "type": problem_type(kind), "code": code, "status": status, "title": title, "help": help })
        };
        match (code, selected.first()) {
            (Some(_), Some(kind)) => Success::ok(&to_json(kind)),
            _ => Success::ok(&json!({ "items": selected.iter().map(to_json).collect::<Vec<_>>() })),
        }
    };
    Some(response.with("Vary", "Accept"))
}

/// The `type` of problems of that kind.
fn problem_type(kind: &Kind) -> String {
    format!("/problems/{}", kind.code)
}

/// Renders a kind as HTML. Its texts are constants of this program, so nothing is escaped.
fn section(kind: &Kind) -> String {
    let Kind { code, status, title, help } = kind;
    let parts: Vec<&str> = help.split('`').collect();
    let help: String = parts
        .iter()
        .enumerate()
        .map(
            |(index, part)| {
                if index % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() }
            },
        )
        .collect();
    format!(
        "<section><h2>{title}</h2><p><a href=\"{}\"><code>{code}</code></a>, HTTP {status}</p><p>{help}</p></section>\n",
        problem_type(kind)
    )
}
