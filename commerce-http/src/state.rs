//! The state that all requests share.

use crate::client::{ClientAddress, TrustedProxy};
use crate::message::Request;
use crate::metrics::Metrics;
use commerce_core::Shop;
use std::sync::Arc;

/// The state of the service, shared by all requests.
pub(crate) struct AppState {
    pub(crate) shop: Arc<Shop>,
    pub(crate) metrics: Metrics,
    pub(crate) documents: &'static Documents,
    pub(crate) trusted_proxies: Vec<TrustedProxy>,
}

impl AppState {
    pub(crate) fn client_of(&self, request: &Request) -> ClientAddress {
        ClientAddress::of(request, &self.trusted_proxies)
    }
}

/// The OpenAPI document in both renderings, serialized.
pub(crate) struct Documents {
    /// OpenAPI 3.1.
    pub(crate) current: Vec<u8>,
    /// OpenAPI 3.0.3.
    pub(crate) rendering_3_0: Vec<u8>,
}
