//! `commerce audit`: checks that the store is consistent, and lists every row that is not.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::table::TextTable;
use commerce_core::AuditReport;

pub(crate) fn run(context: &CommandContext) -> Result<ExitKind, CliError> {
    let report = context.shop.audit()?;
    context.output.print(&report, text)?;
    Ok(if report.ok { ExitKind::Success } else { ExitKind::AuditFailed })
}

fn text(report: &AuditReport) -> String {
    let checked: Vec<_> = report.checked.iter().collect();
    let checked = TextTable::new(["checked", ">rows"], "no rows to check")
        .rows(&checked, |(table, rows)| [table.replace('_', " "), rows.to_string()])
        .text();
    if report.ok {
        return format!("{checked}\n\nno problems found");
    }
    let problems = TextTable::new(["check", "subject", "problem"], "no problems found")
        .rows(&report.problems, |problem| {
            [problem.check.to_string(), problem.subject.clone(), problem.detail.clone()]
        })
        .text();
    let count = report.problems.len();
    format!("{checked}\n\n{problems}\n\nthe store is INCONSISTENT: {count} problems")
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{AddCustomer, Currency, MemoryStore, Shop};

    #[test]
    fn audit_of_a_consistent_store_reports_no_problems() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        shop.call(AddCustomer::new("Kim")).run().unwrap();
        assert!(text(&shop.audit().unwrap()).ends_with("\n\nno problems found"));
    }
}
