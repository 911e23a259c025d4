//! The audit trail, newest entry first.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::AuditEntryId;
use crate::limits::{MAX_CLOCK_SKEW, MAX_EXAMINED};
use crate::model::audit_trail::{Actor, AuditEntry};
use crate::query::{Budget, List, Page, PageRequest};
use crate::shop::Shop;
use serde::Serialize;

/// A filter of the audit trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogFilter {
    /// The author.
    pub actor: Option<Actor>,
    /// The first instant.
    pub from: Option<Timestamp>,
}

impl Shop {
    /// The entries of the audit trail that match a filter, newest first.
    ///
    /// Entries are in commit order, so the first one that is older than the filter by more than [`MAX_CLOCK_SKEW`] ends
    /// the list.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] if the service fails; refused as `invalid_request` if the limit or the cursor is invalid.
    pub fn audit_log(
        &self,
        filter: &LogFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, Error> {
        let list = List::of_shop("log").filtered(filter);
        let start = page.start(list, i64::MAX)?;
        let snapshot = self.store.snapshot()?;
        let budget = Budget::of(MAX_EXAMINED);
        let id = |entry: &AuditEntry| entry.id.get();
        let entries = |first, count| -> Result<Vec<AuditEntry>, Error> {
            Ok(snapshot.audit_trail(filter.actor, AuditEntryId::new(first), count)?)
        };
        let read = |first, count| {
            let Some(from) = filter.from else { return entries(first, count) };
            let end = from.plus_seconds(MAX_CLOCK_SKEW.saturating_neg());
            let recent = |first, count| {
                let rows = entries(first, count)?.into_iter();
                Ok(rows.take_while(|entry| entry.created_at >= end).collect())
            };
            budget.matching(first, count, recent, id, |entry| entry.created_at >= from)
        };
        Page::search(page, list, start, &budget, read, id)
    }
}
