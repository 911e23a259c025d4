//! What is asked of deliveries in the words of SQL, for every store that speaks it: where the two differ is
//! how they name a parameter.

use super::DeliveryFilter;
use super::columns::{DELIVERY, RowReader, get};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::EventId;
use crate::limits::MAX_CLOCK_DIFFERENCE;
use crate::model::delivery::Outbox;

/// The first event that nobody has taken up.
pub const NEXT_EVENT: &str = "SELECT next_event FROM store WHERE id = 1";

/// The epochs of events, as `rows::epoch` reads them.
pub const EPOCHS: &str = "SELECT first_event, name FROM epochs ORDER BY first_event";

/// The row of [`OutboxCounts`].
pub const OUTBOX: &str = "SELECT
    next_event,
    (SELECT id FROM events ORDER BY id DESC LIMIT 1),
    (SELECT count(*) FROM deliveries WHERE status <> 'parked'),
    (SELECT min(event_id) FROM deliveries),
    (SELECT count(*) FROM deliveries WHERE status = 'parked'),
    (SELECT count(*) FROM deliveries WHERE status <> 'parked' AND attempts > 0)
    FROM store WHERE id = 1";

/// A row when anything may be sent at an instant.
pub fn has_due_events(now: &str) -> String {
    format!(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM events
                                WHERE id >= (SELECT next_event FROM store WHERE id = 1))
                     OR EXISTS (SELECT 1 FROM deliveries WHERE status <> 'parked' AND due_at <= {now})
                     OR EXISTS (SELECT 1 FROM deliveries WHERE {})",
        is_ahead(now)
    )
}

/// [`DeliveryRow::is_due_at`](crate::model::delivery::DeliveryRow::is_due_at) for rows whose due time has not come.
fn is_ahead(now: &str) -> String {
    let never = Timestamp::MAX.unix();
    format!(
        "status <> 'parked' AND updated_at > {now} + {MAX_CLOCK_DIFFERENCE}
         AND due_at > {now} AND due_at < {never}"
    )
}

/// Deliveries by event, from one on.
pub fn deliveries_from(filter: DeliveryFilter, start: &str, limit: &str) -> String {
    let parked = match filter {
        DeliveryFilter::All => "",
        DeliveryFilter::Parked => "AND status = 'parked'",
    };
    format!(
        "SELECT {DELIVERY} FROM deliveries WHERE event_id >= {start} {parked}
         ORDER BY event_id LIMIT {limit}"
    )
}

/// What may be sent at an instant, the longest due first.
pub fn due(now: &str, limit: &str) -> String {
    format!(
        "SELECT {DELIVERY} FROM (
             SELECT * FROM (SELECT {DELIVERY} FROM deliveries
                            WHERE status <> 'parked' AND due_at <= {now}
                            ORDER BY due_at, event_id LIMIT {limit}) AS due
             UNION ALL
             SELECT * FROM (SELECT {DELIVERY} FROM deliveries WHERE {}
                            ORDER BY updated_at, event_id LIMIT {limit}) AS ahead
         ) AS wanted ORDER BY due_at, event_id LIMIT {limit}",
        is_ahead(now)
    )
}

/// A store without its one row is none.
pub fn no_store() -> StoreError {
    StoreError::Corrupt("the row of the store is missing".to_owned())
}

/// What an outbox is counted from. Numbers of events have no gaps, so that two of them are a count.
pub struct OutboxCounts {
    next: i64,
    newest: Option<i64>,
    waiting: i64,
    first: Option<i64>,
    parked: i64,
    failed: i64,
}

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
    /// The oldest event that has not arrived, if there is one of that number.
    pub fn oldest(&self) -> EventId {
        EventId::new(self.first.unwrap_or(self.next))
    }

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
