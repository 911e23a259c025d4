//! The part of a report request that other crates cannot implement.

use super::{Facts, Source};
use crate::error::Error;
use serde::Serialize;

pub trait Build {
    /// The report.
    type Report: Serialize;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<Self::Report, Error>;
}
