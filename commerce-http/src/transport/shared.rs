//! The state that the parts of the hyper server share: of the server, and of each connection.

use super::connections::{Activity, Registry};
use super::{Settings, head};
use crate::message::{Connections, Request, Response, Service, TransportError};
use commerce_core::sync::Mutex;
use hyper::body::{Body, Incoming};
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// A request without its body, or the reason for which it is rejected with the part that was read.
pub(super) type Head = Result<Request, (TransportError, Request)>;

/// The state of the server.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) service: Arc<dyn Service>,
    pub(super) registry: Registry,
    /// One permit for each connection.
    pub(super) places: Arc<Semaphore>,
    /// One permit for each worker, and for each request that may wait for one.
    pub(super) work: Arc<Semaphore>,
    pub(super) is_stopping: AtomicBool,
    /// The statistics since the last report.
    pub(super) counts: Mutex<Connections>,
}

/// The state of one connection, which its gate and the service of hyper share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: Option<IpAddr>,
    /// The body has missed its deadline.
    pub(super) is_late: AtomicBool,
    /// The deadline of a stream that is being sent.
    pub(super) stream_by: Mutex<Option<Instant>>,
    pub(super) head: Mutex<Option<Head>>,
}

impl Shared {
    pub(super) fn reject(&self, reason: TransportError, request: &Request) -> Response {
        if reason == TransportError::TooSlow {
            self.count(|counts| &mut counts.too_slow);
        }
        let request = head::truncated(request);
        let reject = || self.service.reject(reason, &request);
        let empty = |_| Response { status: 503, headers: Vec::new(), body: b""[..].into() };
        catch_unwind(AssertUnwindSafe(reject)).unwrap_or_else(empty)
    }

    /// Adds one to a count of the next report.
    pub(super) fn count(&self, count: impl FnOnce(&mut Connections) -> &mut usize) {
        let mut counts = self.counts.lock();
        let count = count(&mut counts);
        *count = count.saturating_add(1);
    }

    pub(super) fn report(&self) {
        let counts = std::mem::take(&mut *self.counts.lock());
        self.service.observe(Connections { open: self.registry.len(), ..counts });
    }
}

impl Connection {
    /// Passes the head of the next request to [`exchange`].
    pub(super) fn put(&self, head: Head) {
        *self.head.lock() = Some(head);
    }

    /// Reads the complete body.
    pub(super) async fn read_body(
        &self,
        mut incoming: Incoming,
    ) -> Result<Vec<u8>, TransportError> {
        let (limit, mut body) = (self.shared.settings.max_body, Vec::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            let is_late = || self.is_late.load(Ordering::Relaxed);
            let reason =
                |_| if is_late() { TransportError::TooSlow } else { TransportError::Malformed };
            let Ok(data) = frame.map_err(reason)?.into_data() else { continue };
            body.extend_from_slice(&data);
            if body.len() > limit {
                return Err(TransportError::BodyTooLarge { limit });
            }
        }
        Ok(body)
    }
}
