//! The HTML pages and their assets.

use commerce_core::{Currency, MemoryStore, Shop};
use commerce_http::{Api, Log, LogFormat, Request, Response, Service};
use flate2::read::GzDecoder;
use rstest::rstest;
use sha2::{Digest, Sha256};
use std::io::Read;

const BUNDLE: &str = "/docs/swagger-ui-5.35.0/swagger-ui-bundle.js";
const SHEET: &str = "/docs/swagger-ui-5.35.0/swagger-ui.css";
const CHARTS: &str = "/report/uplot-1.6.32/uPlot.iife.min.js";
const CHARTS_SHEET: &str = "/report/uplot-1.6.32/uPlot.min.css";

fn send(method: &str, target: &str) -> Response {
    let shop = Shop::open(MemoryStore::new(Currency::KRW));
    let api = Api::new(shop, Log::new(LogFormat::Logfmt, Box::new(|_| ()))).unwrap();
    let (method, target) = (method.to_owned(), target.to_owned());
    api.answer(&Request { method, target, ..Request::default() })
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut found = response.headers.iter().filter(|(known, _)| *known == name);
    let value = found.next().map(|(_, value)| &**value);
    assert!(found.next().is_none(), "{name} is sent twice");
    value
}

#[rstest]
#[case::root("/", 302, None, None, "no-store")]
#[case::page("/docs", 200, Some("text/html; charset=utf-8"), None, "no-store")]
#[case::style("/docs/docs.css", 200, Some("text/css; charset=utf-8"), None, "no-store")]
#[case::script("/docs/docs.js", 200, Some(SCRIPT), None, "no-store")]
#[case::sheet(SHEET, 200, Some("text/css; charset=utf-8"), Some("gzip"), FOREVER)]
#[case::bundle(BUNDLE, 200, Some(SCRIPT), Some("gzip"), FOREVER)]
#[case::report("/report", 200, Some("text/html; charset=utf-8"), None, "no-store")]
#[case::report_style("/report/report.css", 200, Some("text/css; charset=utf-8"), None, "no-store")]
#[case::report_script("/report/report.js", 200, Some(SCRIPT), None, "no-store")]
#[case::report_words("/report/words.js", 200, Some(SCRIPT), None, "no-store")]
#[case::charts(CHARTS, 200, Some(SCRIPT), Some("gzip"), FOREVER)]
#[case::charts_sheet(CHARTS_SHEET, 200, Some("text/css; charset=utf-8"), Some("gzip"), FOREVER)]
fn pages_answer_get_and_head_only(
    #[case] path: &str,
    #[case] status: u16,
    #[case] media: Option<&str>,
    #[case] encoding: Option<&str>,
    #[case] kept: &str,
) {
    for method in ["GET", "HEAD"] {
        let response = send(method, path);
        assert_eq!(response.status, status);
        assert_eq!(header(&response, "Content-Type"), media);
        assert_eq!(header(&response, "Content-Encoding"), encoding);
        assert_eq!(header(&response, "Cache-Control"), Some(kept));
        assert_eq!(header(&response, "X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(response.body.is_empty(), status == 302);
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let response = send(method, path);
        assert_eq!(response.status, 405);
        assert_eq!(header(&response, "Allow"), Some("GET, HEAD, OPTIONS"));
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const FOREVER: &str = "public, max-age=31536000, immutable";

#[test]
fn root_redirects_to_the_page() {
    assert_eq!(header(&send("GET", "/"), "Location"), Some("/docs"));
}

#[rstest]
#[case::docs("/docs", "default-src 'self';", "openapi.json")]
#[case::report(
    "/report",
    "default-src 'none'; script-src 'self'; style-src 'self';",
    "report/report.js"
)]
fn page_has_no_inline_script_and_no_foreign_resources(
    #[case] page: &str,
    #[case] start: &str,
    #[case] resource: &str,
) {
    let page = send("GET", page);
    let policy = header(&page, "Content-Security-Policy").unwrap();
    assert!(policy.starts_with(start), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("//"), "{policy}");
    let text = std::str::from_utf8(&page.body).unwrap();
    assert!(!text.contains("//") && !text.contains("style="), "something from elsewhere");
    assert_eq!(text.matches("<script").count(), text.matches("<script src=\"/").count());
    let paths: Vec<&str> =
        text.split("=\"/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(paths.contains(&resource), "{paths:?}");
    for path in paths {
        assert_eq!(send("GET", &format!("/{path}")).status, 200, "{path}");
    }
}

/// Every word of the page stands in both languages.
#[test]
fn report_has_the_same_words_in_both_languages() {
    let words = send("GET", "/report/words.js");
    let words = std::str::from_utf8(&words.body).unwrap();
    let (english, korean) = words.split_once("    ko: {").unwrap();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("        "));
        lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    };
    assert_eq!(names(english), names(korean));
    let page = send("GET", "/report");
    let script = send("GET", "/report/report.js");
    let page = std::str::from_utf8(&page.body).unwrap();
    let script = std::str::from_utf8(&script.body).unwrap();
    let in_page = page.split("data-word=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let in_script = script.split("words().").skip(1).map(|rest| {
        rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default()
    });
    for name in in_page.chain(in_script) {
        assert!(names(english).contains(&name.to_owned()), "{name} has no words");
    }
}

/// The decompressed files have the published hashes in `assets/README.md`.
#[rstest]
#[case(SHEET)]
#[case(BUNDLE)]
#[case(CHARTS)]
#[case(CHARTS_SHEET)]
fn library_matches_its_published_hash(#[case] path: &str) {
    let mut unpacked = Vec::new();
    GzDecoder::new(&*send("GET", path).body).read_to_end(&mut unpacked).unwrap();
    let sum = Sha256::digest(&unpacked);
    let sum = sum.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let readme = include_str!("../../assets/README.md");
    let name = path.rsplit('/').next().unwrap();
    assert!(readme.contains(&format!("| `{name}` | `{sum}` |")), "{name} has {sum}");
}
