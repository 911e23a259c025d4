//! The state that all requests share.

use crate::client::{ClientAddress, TrustedProxy};
use crate::message::Request;
use crate::metrics::Metrics;
use crate::stream::Streams;
use commerce_core::Shop;
use std::sync::Arc;

/// The state of the service, shared by all requests. Clones share it.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) shop: Arc<Shop>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) documents: &'static Documents,
    pub(crate) trusted_proxies: Arc<[TrustedProxy]>,
    pub(crate) streams: Streams,
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
