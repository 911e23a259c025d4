//! `commerce copy`: copies a store into a new one, of the same kind or the other.

use crate::database::Database;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::output::Output;
use crate::progress;
use commerce_core::{Shop, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(clap::Args, Debug)]
pub(crate) struct CopyCommand {
    /// Store to copy.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Target store, which must be empty or missing.
    #[arg(long, value_name = "URL")]
    to: String,
}

#[derive(Serialize)]
struct CopyReport {
    from: String,
    to: String,
    rows: BTreeMap<&'static str, u64>,
    audit_ok: bool,
}

impl CopyCommand {
    pub(crate) fn run(&self, output: Output) -> Result<ExitKind, CliError> {
        let (from, to) = (Database::from_url(&self.from)?, Database::from_url(&self.to)?);
        let is_own_file = matches!(&to, Database::File(path) if from.owns(path));
        if from == to || is_own_file {
            return Err(CliError::usage("a store cannot be copied to itself: name another --to"));
        }
        let source = from.find()?.ok_or_else(|| {
            CliError::storage(format!("there is no store at {from}: name another --from"))
        })?;
        let existing = to.find()?;
        let exists = existing.is_some();
        let target = match existing {
            Some(store) => store,
            None => to.create(Some(source.currency()))?,
        };
        let bar = progress::items("rows", 0);
        let rows =
            commerce_core::copy(&*source, &*target, &mut |written| bar.set_position(written));
        let rows = rows.map_err(|error| {
            if let (StoreError::Incompatible(text), true) = (&error, exists) {
                return CliError::usage(format!("{to}: {text}: name another --to"));
            }
            error.into()
        })?;
        bar.finish_and_clear();
        let before = Shop::open(Arc::clone(&source)).audit()?;
        let after = Shop::open(Arc::clone(&target)).audit()?;
        let audit_ok = before.ok && after.ok && is_equal(&before.checked, &after.checked);
        let body = CopyReport { from: from.to_string(), to: to.to_string(), rows, audit_ok };
        output.print(&body, text)?;
        Ok(if audit_ok { ExitKind::Success } else { ExitKind::AuditFailed })
    }
}

/// Returns true if two stores have the same number of rows of each kind. The sales roll-ups may have another
/// watermark, and a copy begins its own epoch.
fn is_equal(one: &BTreeMap<&str, u64>, other: &BTreeMap<&str, u64>) -> bool {
    let differs = |table: &str| matches!(table, "sales" | "epochs");
    one.iter().all(|(table, rows)| differs(table) || other.get(table) == Some(rows))
}

fn text(copied: &CopyReport) -> String {
    let CopyReport { from, to, rows, audit_ok } = copied;
    let rows: u64 = rows.values().fold(0, |sum, rows| sum.saturating_add(*rows));
    let result = if *audit_ok {
        "no problems found in either store"
    } else {
        "the stores are INCONSISTENT or differ"
    };
    format!("copied {rows} rows from {from} to {to}: {result}")
}
