//! A folder with a store, and the command line beside the server.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder of its own for the processes of a test.
pub(crate) struct Place(TempDir);

/// What a command said.
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A store in won with these products, a price and a stock each.
    pub(crate) fn with_products(products: &[(i64, i64)]) -> Self {
        let place = Self::empty();
        place.json("init");
        for (number, (price, stock)) in products.iter().enumerate() {
            place.json(&format!("product add Product{} {price} {stock}", number + 1));
        }
        place
    }

    /// Adds so many customers with that balance each. Their ids go up from 1 in an empty store.
    pub(crate) fn add_customers(&self, count: usize, balance: i64) {
        let rows = (1..=count).map(|id| format!("{id},Kim {id},{balance}\n"));
        let file = format!("id,name,balance\n{}", rows.collect::<String>());
        let said = self.fed("--json import customers -", &file);
        assert_eq!(said.status, 0, "{}", said.err);
    }

    /// A token of an admin.
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

    pub(crate) fn run(&self, line: &str) -> Said {
        self.fed(line, "")
    }

    /// Runs a command with that on its standard input.
    pub(crate) fn fed(&self, line: &str, input: &str) -> Said {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that stops early closes its end; what it says is what counts.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Said {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one document that a command prints with `--json`.
    pub(crate) fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("--json {line}"));
        assert_eq!(said.status, 0, "{line}: {}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    /// Everything in a list of the command line, page by page.
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

    /// The store is sound, row by row.
    pub(crate) fn audit(&self) {
        let said = self.run("--json audit");
        assert_eq!(said.status, 0, "{}{}", said.out, said.err);
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["ok"], true, "{report}");
    }
}
