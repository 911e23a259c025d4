//! Interoperability: a consumer in Python, and localstripe, an independent implementation of Stripe's API.

mod consumer;
mod localstripe;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A Python program of tests/outside, which listens on a port and prints it. It is killed when dropped.
struct Program {
    child: Child,
    port: u16,
    output: BufReader<ChildStdout>,
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
            .expect("this test needs what tests/run installs: run it first");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse();
        let port = port.expect("this test needs what tests/run installs: run it again");
        Self { child, port, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
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
