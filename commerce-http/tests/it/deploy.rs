//! The files in `deploy/`, compared with the service.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

/// Returns the names of the headers that the sources read, in lower case. The server is not among them: a proxy always
/// sets what it reads (`Host`, `Connection`, framing).
fn headers_read() -> BTreeSet<String> {
    let source = root().join("commerce-http/src");
    let mut names = BTreeSet::new();
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap().to_str().unwrap();
        if relative.starts_with("transport") || relative.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for call in ["request.header(", "request.values("] {
            for argument in code.split(call).skip(1) {
                let name =
                    argument.trim_start().strip_prefix('"').and_then(|name| name.split('"').next());
                let name = name
                    .unwrap_or_else(|| panic!("{relative}: name the header of {call}) in place"));
                names.insert(name.to_lowercase());
            }
        }
    }
    names
}

#[test]
fn nginx_passes_on_exactly_the_headers_that_the_service_reads() {
    let configuration = fs::read_to_string(root().join("deploy/nginx.conf")).unwrap();
    assert!(configuration.contains("proxy_pass_request_headers off;"));
    let mut passed = BTreeSet::new();
    for line in configuration.lines() {
        let Some(pair) = line.trim().strip_prefix("proxy_set_header ") else { continue };
        let (name, value) = pair.trim_end_matches(';').split_once(' ').unwrap();
        if value == "\"\"" {
            continue; // not passed on
        }
        let name = name.to_lowercase();
        if value.starts_with("$http_") {
            assert_eq!(value, format!("$http_{}", name.replace('-', "_")), "{name}");
        }
        passed.insert(name);
    }
    let mut read = headers_read();
    assert!(read.remove("forwarded"), "nginx sets X-Forwarded-For instead");
    assert_eq!(passed, read);
}
