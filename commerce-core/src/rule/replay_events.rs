//! Replays past events.

use super::Rule;
use crate::error::Refusal;
use crate::id::EventId;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Makes all events from a number on due again, delivered or not. Returns the number of them that had been leased
/// before. An event that is being sent is sent again and its outcome is ignored, because recording it would break
/// the order of an order's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayEvents {
    /// The first event.
    pub from: EventId,
}

impl Rule for ReplayEvents {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.next_event |= !state.deliveries.is_next_loaded();
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Output, Refusal> {
        let from = self.from.get();
        if from < 1 {
            return Err(Refusal::invalid("/from", format!("from is {from} and must be 1 or more")));
        }

        let count = state.deliveries.next().get().saturating_sub(from).max(0);
        if count > 0 {
            state.deliveries.forget_from(self.from);
            state.deliveries.move_to(self.from);
            state.deliveries.count_released(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(Output::Count(u64::try_from(count).unwrap_or(0)))
    }
}
