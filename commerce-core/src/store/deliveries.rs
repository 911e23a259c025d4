//! What is asked of deliveries in the words of SQL, for every store that speaks it: where the two differ is
//! how they name a parameter.

use super::DeliveryFilter;
use super::rows::{Columns, DELIVERY, get};
use crate::{EventId, Outbox, StoreError, Timestamp};

/// The first event that nobody has taken up.
pub(crate) const NEXT_EVENT: &str = "SELECT next_event FROM store WHERE id = 1";

/// The epochs of events, as `rows::epoch` reads them.
pub(crate) const EPOCHS: &str = "SELECT first_event, name FROM epochs ORDER BY first_event";

/// The row of [`OutboxCounts`].
pub(crate) const OUTBOX: &str = "SELECT
    next_event,
    (SELECT id FROM events ORDER BY id DESC LIMIT 1),
    (SELECT count(*) FROM deliveries WHERE status <> 'parked'),
    (SELECT min(event_id) FROM deliveries WHERE status <> 'parked'),
    (SELECT count(*) FROM deliveries WHERE status = 'parked')
    FROM store WHERE id = 1";

/// A row when anything may be sent at an instant.
pub(crate) fn has_due_events(now: &str) -> String {
    format!(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM events
                                WHERE id >= (SELECT next_event FROM store WHERE id = 1))
                     OR EXISTS (SELECT 1 FROM deliveries WHERE status <> 'parked' AND due_at <= {now})"
    )
}

/// Deliveries by event, from one on.
pub(crate) fn deliveries_from(filter: DeliveryFilter, start: &str, limit: &str) -> String {
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
pub(crate) fn due(now: &str, limit: &str) -> String {
    format!(
        "SELECT {DELIVERY} FROM deliveries WHERE status <> 'parked' AND due_at <= {now}
         ORDER BY due_at, event_id LIMIT {limit}"
    )
}

/// A store without its one row is none.
pub(crate) fn no_store() -> StoreError {
    StoreError::Unsound("the row of the store is missing".to_owned())
}

/// What an outbox is counted from. Numbers of events have no gaps, so that two of them are a count.
pub(crate) struct OutboxCounts {
    next: i64,
    newest: Option<i64>,
    waiting: i64,
    first_waiting: Option<i64>,
    parked: i64,
}

pub(crate) fn outbox_counts<R: Columns>(row: &R) -> Result<OutboxCounts, R::Error> {
    Ok(OutboxCounts {
        next: get(row, 0)?,
        newest: get(row, 1)?,
        waiting: get(row, 2)?,
        first_waiting: get(row, 3)?,
        parked: get(row, 4)?,
    })
}

impl OutboxCounts {
    /// The oldest event that has not arrived, if there is one of that number.
    pub(crate) fn oldest(&self) -> EventId {
        EventId::new(self.first_waiting.unwrap_or(self.next))
    }

    pub(crate) fn outbox(&self, oldest: Option<Timestamp>) -> Outbox {
        let fresh = self.newest.unwrap_or(0).saturating_add(1).saturating_sub(self.next).max(0);
        Outbox {
            waiting: u64::try_from(fresh.saturating_add(self.waiting)).unwrap_or(0),
            oldest,
            parked: u64::try_from(self.parked).unwrap_or(0),
        }
    }
}
