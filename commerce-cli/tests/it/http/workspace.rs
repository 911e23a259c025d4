//! A folder with a store, and the command line in it.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder for the processes of a test.
pub(crate) struct Workspace(TempDir);

/// The output of a command.
pub(crate) struct CommandOutput {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Workspace {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Creates a store in won with products of these prices and stocks.
    pub(crate) fn with_products(products: &[(i64, i64)]) -> Self {
        let workspace = Self::empty();
        workspace.json("init");
        for (number, (price, stock)) in products.iter().enumerate() {
            workspace.json(&format!("product add Product{} {price} {stock}", number + 1));
        }
        workspace
    }

    /// Adds customers with that balance each. Their ids count up from 1 in an empty store.
    pub(crate) fn add_customers(&self, count: usize, balance: i64) {
        let rows = (1..=count).map(|id| format!("{id},Kim {id},{balance}\n"));
        let file = format!("id,name,balance\n{}", rows.collect::<String>());
        let output = self.fed("--json import customers -", &file);
        assert_eq!(output.status, 0, "{}", output.err);
    }

    /// Creates an admin and returns a token.
    pub(crate) fn admin_token(&self) -> String {
        self.json("admin token")["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_commerce"));
        command.current_dir(self.path()).env_clear().args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &str) -> CommandOutput {
        self.fed(line, "")
    }

    /// Runs a command with the input on its standard input.
    pub(crate) fn fed(&self, line: &str, input: &str) -> CommandOutput {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that ends early closes the pipe; its output and status are what is checked.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        CommandOutput {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command with `--json` and returns its document.
    pub(crate) fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("--json {line}"));
        assert_eq!(output.status, 0, "{line}: {}", output.err);
        serde_json::from_str(&output.out).unwrap()
    }

    /// Returns all items of a list command, page by page.
    pub(crate) fn whole_list(&self, line: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut more = String::new();
        loop {
            let page = self.json(&format!("{line} --limit 100{more}"));
            items.extend_from_slice(page["items"].as_array().unwrap());
            let Some(cursor) = page["next_cursor"].as_str() else { return items };
            more = format!(" --cursor {cursor}");
        }
    }

    /// Asserts that the audit finds no problem.
    pub(crate) fn audit(&self) {
        let output = self.run("--json audit");
        assert_eq!(output.status, 0, "{}{}", output.out, output.err);
        let report: Value = serde_json::from_str(&output.out).unwrap();
        assert_eq!(report["ok"], true, "{report}");
    }
}
