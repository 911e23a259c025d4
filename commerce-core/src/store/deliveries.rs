//! The SQL of deliveries that the SQL stores share. They differ in the names of parameters only.

use super::DeliveryFilter;
use super::columns::Entity;
use super::values::{RowReader, get};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::EventId;
use crate::limits::MAX_CLOCK_DIFFERENCE;
use crate::model::delivery::{DeliveryRow, Outbox};

/// Selects the first event that no relay has leased yet.
pub const NEXT_EVENT: &str = "SELECT next_event FROM store WHERE id = 1";

/// Selects the epochs of events.
pub const EPOCHS: &str = "SELECT first_event, name FROM epochs ORDER BY first_event";

/// Selects the row of [`outbox_counts`].
pub const OUTBOX: &str = "SELECT
    next_event,
    (SELECT id FROM events ORDER BY id DESC LIMIT 1),
    (SELECT count(*) FROM deliveries WHERE status <> 'parked'),
    (SELECT min(event_id) FROM deliveries),
    (SELECT count(*) FROM deliveries WHERE status = 'parked'),
    (SELECT count(*) FROM deliveries WHERE status <> 'parked' AND attempts > 0)
    FROM store WHERE id = 1";

/// Selects a row if any event may be sent at a time.
#[must_use]
pub fn has_due_events(now: &str) -> String {
    format!(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM events
                                WHERE id >= (SELECT next_event FROM store WHERE id = 1))
                     OR EXISTS (SELECT 1 FROM deliveries WHERE status <> 'parked' AND due_at <= {now})
                     OR EXISTS (SELECT 1 FROM deliveries WHERE {})",
        is_ahead(now)
    )
}

/// The condition of [`DeliveryRow::is_due_at`] for rows whose due time is in the future.
fn is_ahead(now: &str) -> String {
    let never = Timestamp::MAX.unix();
    format!(
        "status <> 'parked' AND updated_at > {now} + {MAX_CLOCK_DIFFERENCE}
         AND due_at > {now} AND due_at < {never}"
    )
}

/// Selects deliveries in event order, from one event on.
#[must_use]
pub fn deliveries_from(filter: DeliveryFilter, start: &str, limit: &str) -> String {
    let parked = match filter {
        DeliveryFilter::All => "",
        DeliveryFilter::Parked => "AND status = 'parked'",
    };
    let columns = DeliveryRow::SELECT;
    format!(
        "SELECT {columns} FROM deliveries WHERE event_id >= {start} {parked}
         ORDER BY event_id LIMIT {limit}"
    )
}

/// Selects the deliveries that may be sent at a time, the longest due first.
#[must_use]
pub fn due(now: &str, limit: &str) -> String {
    let columns = DeliveryRow::SELECT;
    format!(
        "SELECT {columns} FROM (
             SELECT * FROM (SELECT {columns} FROM deliveries
                            WHERE status <> 'parked' AND due_at <= {now}
                            ORDER BY due_at, event_id LIMIT {limit}) AS due
             UNION ALL
             SELECT * FROM (SELECT {columns} FROM deliveries WHERE {}
                            ORDER BY updated_at, event_id LIMIT {limit}) AS ahead
         ) AS wanted ORDER BY due_at, event_id LIMIT {limit}",
        is_ahead(now)
    )
}

/// The error of a store whose one row is missing.
#[must_use]
pub fn no_store() -> StoreError {
    StoreError::Corrupt("the row of the store is missing".to_owned())
}

/// The numbers that an [`Outbox`] is computed from. Event ids have no gaps, so that their difference is a count.
#[derive(Debug)]
pub struct OutboxCounts {
    next: i64,
    newest: Option<i64>,
    waiting: i64,
    first: Option<i64>,
    parked: i64,
    failed: i64,
}

/// Reads the row of [`OUTBOX`].
///
/// # Errors
///
/// A column holds another type.
pub fn outbox_counts<R: RowReader>(row: &R) -> Result<OutboxCounts, R::Error> {
    Ok(OutboxCounts {
        next: get(row, 0)?,
        newest: get(row, 1)?,
        waiting: get(row, 2)?,
        first: get(row, 3)?,
        parked: get(row, 4)?,
        failed: get(row, 5)?,
    })
}

impl OutboxCounts {
    /// Returns the oldest event that has not been delivered, if an event of that id exists.
    #[must_use]
    pub fn oldest(&self) -> EventId {
        EventId::new(self.first.unwrap_or(self.next))
    }

    /// Returns the outbox, given the time of the oldest event.
    #[must_use]
    pub fn outbox(&self, oldest: Option<Timestamp>) -> Outbox {
        let fresh = self.newest.unwrap_or(0).saturating_add(1).saturating_sub(self.next).max(0);
        Outbox {
            waiting: u64::try_from(fresh.saturating_add(self.waiting)).unwrap_or(0),
            failed: u64::try_from(self.failed).unwrap_or(0),
            oldest,
            parked: u64::try_from(self.parked).unwrap_or(0),
        }
    }
}
