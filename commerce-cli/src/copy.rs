//! `commerce copy`: a store becomes another one, of the same kind or the other.

use crate::args::ExitKind;
use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::output::Output;
use crate::progress;
use commerce_core::Shop;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Copies a store into a new one, between a file and a PostgreSQL server or within either.
///
/// All of it is copied in one commit, or nothing. Both stores are audited afterwards; when either is not
/// sound, or they differ, the exit status is 3. Stop what writes to the first one before.
#[derive(clap::Args, Debug)]
pub(crate) struct CopyCommand {
    /// The store to copy.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Where to. What is there must be empty.
    #[arg(long, value_name = "URL")]
    to: String,
}

#[derive(Serialize)]
struct Copied {
    from: String,
    to: String,
    rows: BTreeMap<&'static str, u64>,
    audit_ok: bool,
}

impl CopyCommand {
    pub(crate) fn run(&self, output: Output) -> Result<ExitKind, CliError> {
        let (from, to) = (Database::at(&self.from)?, Database::at(&self.to)?);
        let is_part = matches!(&to, Database::File(path) if from.holds(path));
        if from == to || is_part {
            return Err(CliError::usage("a store cannot be copied to itself: name another --to"));
        }
        let source = from.open(OpenMode::Existing)?;
        let target = match to.find()? {
            Some(store) => store,
            None => to.create(Some(source.currency()))?,
        };
        let bar = progress::counted("rows", 0);
        let rows =
            commerce_core::copy(&*source, &*target, &mut |written| bar.set_position(written))?;
        bar.finish_and_clear();
        let before = Shop::open(Arc::clone(&source)).audit()?;
        let after = Shop::open(Arc::clone(&target)).audit()?;
        let audit_ok = before.ok && after.ok && alike(&before.checked, &after.checked);
        let body = Copied { from: from.to_string(), to: to.to_string(), rows, audit_ok };
        output.print(&body, text)?;
        Ok(if audit_ok { ExitKind::Success } else { ExitKind::AuditFailed })
    }
}

/// Returns true if two stores have as many rows of each kind. Sales may be added up to another point, and a
/// copy begins an epoch of its own.
fn alike(one: &BTreeMap<&str, u64>, other: &BTreeMap<&str, u64>) -> bool {
    let differs = |table: &str| matches!(table, "sales" | "epochs");
    one.iter().all(|(table, rows)| differs(table) || other.get(table) == Some(rows))
}

fn text(copied: &Copied) -> String {
    let Copied { from, to, rows, audit_ok } = copied;
    let rows: u64 = rows.values().fold(0, |sum, rows| sum.saturating_add(*rows));
    let end =
        if *audit_ok { "all is well on both sides" } else { "the stores are NOT sound and alike" };
    format!("copied {rows} rows from {from} to {to}: {end}")
}
