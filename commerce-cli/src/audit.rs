//! `commerce audit`: proves the store consistent, or says row by row what is not.

use crate::args::ExitKind;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::Rows;
use commerce_core::AuditReport;

pub(crate) fn run(context: &CommandContext) -> Result<ExitKind, CliError> {
    let report = context.shop.audit()?;
    context.output.print(&report, text)?;
    Ok(if report.ok { ExitKind::Success } else { ExitKind::AuditFailed })
}

fn text(report: &AuditReport) -> String {
    let checked: Vec<_> = report.checked.iter().collect();
    let checked = Rows::new(["checked", ">rows"], "nothing was checked")
        .each(&checked, |(table, rows)| [table.replace('_', " "), rows.to_string()])
        .text();
    if report.ok {
        return format!("{checked}\n\nall is well");
    }
    let problems = Rows::new(["check", "subject", "problem"], "something is wrong")
        .each(&report.problems, |problem| {
            [problem.check.to_string(), problem.subject.clone(), problem.detail.clone()]
        })
        .text();
    let count = report.problems.len();
    format!("{checked}\n\n{problems}\n\nthe store is NOT sound: {count} problems")
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{AddCustomer, Currency, MemoryStore, Shop};

    #[test]
    fn a_sound_store_is_said_to_be_well() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        shop.call(AddCustomer::new("Kim")).run().unwrap();
        assert!(text(&shop.audit().unwrap()).ends_with("\n\nall is well"));
    }
}
