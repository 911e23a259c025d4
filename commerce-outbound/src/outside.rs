//! Whether others understand what is said: a consumer in Python, and a Stripe that nobody here wrote.

mod consumer;
mod localstripe;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A Python program of tests/outside, which listens at a port and says so. It ends with its value.
struct Program {
    child: Child,
    port: u16,
    says: BufReader<ChildStdout>,
}

impl Program {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let python = root().join("target/python/bin/python");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(root().join("tests/outside").join(script))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs what tests/run installs: run that");
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        says.read_line(&mut port).unwrap();
        let port = port.trim().parse();
        let port = port.expect("this test needs what tests/run installs anew: run that");
        Self { child, port, says }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
