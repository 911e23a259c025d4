//! Paths of the files of a store.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Returns the path of a file that belongs to the store at `path`, such as its log with the ending `-wal`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Returns the file as a URI that SQLite reads without log and locks. `?`, `#` and `%` are escaped.
pub(super) fn uri(path: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' => uri.extend(b"%3f"),
            b'#' => uri.extend(b"%23"),
            b'%' => uri.extend(b"%25"),
            byte => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}
