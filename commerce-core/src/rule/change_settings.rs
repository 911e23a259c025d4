//! Changes the settings of the shop.

use super::Rule;
use crate::error::Refusal;
use crate::model::audit_trail::Action;
use crate::model::settings::Settings;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::zone::Zone;
use serde::Serialize;

/// Changes the settings of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSettings {
    /// The new zone. It changes reports only: no count depends on it.
    pub zone: Zone,
}

impl Rule for ChangeSettings {
    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn action(&self) -> Option<Action> {
        Some(Action::SettingsChanged)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        context.record_field(state, "zone", self.zone.name());
        let settings = Settings::new(self.zone);
        state.settings = Some(settings);
        Ok(Output::Settings(settings))
    }
}
