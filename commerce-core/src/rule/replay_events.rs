//! Sending history again.

use super::Rule;
use crate::error::Refusal;
use crate::id::EventId;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Lets all events from one on be sent again, whatever became of them. Answers how many of them had been
/// taken up before. What is being sent at this moment is sent once more: its outcome is not heard, or the
/// order of an order's events would be lost.
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
