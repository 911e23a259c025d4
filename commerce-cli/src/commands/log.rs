//! `commerce log`: the audit trail of changes.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::TextTable;
use crate::values::{self, Edge, PageArgs};
use commerce_core::{Actor, AuditEntry, LogFilter};
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(crate) struct LogCommand {
    /// Only changes by this actor: cli, customer:ID or token:ID.
    #[arg(long)]
    actor: Option<Actor>,
    /// Only changes from this time or day on.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    from: Option<Edge>,
    #[command(flatten)]
    page: PageArgs,
}

impl LogCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let filter = LogFilter {
            actor: self.actor,
            from: context.instant(self.from.as_ref(), Edge::start)?,
        };
        context.list(&self.page, |page| context.shop.audit_log(&filter, page), entries)
    }
}

fn entries(entries: &[AuditEntry]) -> String {
    TextTable::new([">id", "at", "actor", "action", "subject", "~changes"], "no entries")
        .rows(entries, |entry| {
            [
                entry.id.to_string(),
                entry.created_at.to_string(),
                entry.actor.to_string(),
                entry.action.to_string(),
                entry.subject.to_string(),
                changes(entry),
            ]
        })
        .text()
}

/// `price 100 -> 120, status active -> archived`.
fn changes(entry: &AuditEntry) -> String {
    let fields = entry.changes.fields();
    let texts = fields.iter().map(|(field, value)| match (value.get("from"), value.get("to")) {
        (Some(from), Some(to)) => format!("{field} {} -> {}", plain(from), plain(to)),
        _ => format!("{field} {}", plain(value)),
    });
    let text = texts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
