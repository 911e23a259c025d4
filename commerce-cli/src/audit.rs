//! `commerce audit`: proves the store consistent, or says row by row what is not.

use crate::args::Ending;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::table::Rows;
use commerce_core::AuditReport;

/// Proves the store consistent, or says row by row what is not; then the exit status is 3.
#[derive(clap::Args, Debug)]
pub(crate) struct Audit;

impl Audit {
    pub(crate) fn run(self, desk: &Desk) -> Result<Ending, Failure> {
        let report = desk.shop.audit()?;
        desk.output.give(&report, text)?;
        Ok(if report.ok { Ending::Done } else { Ending::Unsound })
    }
}

fn text(report: &AuditReport) -> String {
    todo_checked(report)
}
