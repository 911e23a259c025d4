//! A file that has its name only once it is complete, so that half of one never looks whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

pub(super) struct OutputFile {
    file: File,
    /// The names until and after completion; `None` for a pipe or device, which is written directly.
    names: Option<Names>,
}

struct Names {
    partial: PathBuf,
    complete: PathBuf,
}

impl OutputFile {
    /// Creates the file under another name in the same directory. Only its owner reads it: exports have names, logins and
    /// balances.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(Self { file: File::options().write(true).open(path)?, names: None });
        }
        // The file that a symbolic link leads to is replaced, not the link.
        let complete = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut partial = complete.clone().into_os_string();
        partial.push(format!(".{}.partial", process::id()));
        let partial = PathBuf::from(partial);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok(Self { file, names: Some(Names { partial, complete }) })
    }

    /// Writes the content to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.names {
            Some(_) => self.file.sync_all(),
            None => Ok(()),
        }
    }

    /// Gives the file its name, in place of a file that has it.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.names.take() {
            Some(Names { partial, complete }) => {
                fs::rename(&partial, complete).inspect_err(|_| drop(fs::remove_file(&partial)))
            }
            None => Ok(()),
        }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(Names { partial, .. }) = &self.names {
            // A file that cannot be removed has a name that shows its state.
            let _ = fs::remove_file(partial);
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
