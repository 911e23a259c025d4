//! The settings of a shop.

use crate::zone::Zone;
use serde::{Deserialize, Serialize};

/// The settings of a shop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Settings {
    /// The zone of its days, weeks and months in reports.
    pub zone: Zone,
}

impl Settings {
    /// Returns the settings with that zone.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self { zone }
    }
}
