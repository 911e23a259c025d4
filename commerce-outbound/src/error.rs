//! Configuration errors of destinations and gateways. No message contains a part of a URL or a secret.

use crate::limits::MAX_EVENTS_PER_REQUEST;

/// The reason why a destination or a gateway cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// The destination has no known form.
    #[error(
        "unknown destination: expected https://..., http://..., file:PATH, or - for standard output"
    )]
    UnknownDestination,
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
    /// The file cannot be used.
    #[error("the file cannot be used: {0}")]
    File(&'static str),
    /// The address is private or of this machine, and such addresses are not allowed.
    #[error("the address is private or of this machine, which the operator has to allow")]
    PrivateAddress,
    /// A secret for signatures of events or webhooks has no valid form.
    #[error("the secret cannot be used: {0}")]
    Secret(&'static str),
    /// The secret or the key cannot be read.
    #[error("the secret cannot be read: {0}")]
    Unreadable(String),
    /// The key of the gateway has no valid form.
    #[error("the gateway's key cannot be used: {0}")]
    GatewayKey(&'static str),
    /// The batch size is out of range.
    #[error("a request carries 1 to {MAX_EVENTS_PER_REQUEST} events")]
    Batch,
    /// The source of the events is no valid URI reference.
    #[error(
        "a source is 1 to 200 visible ASCII characters, like /commerce or https://shop.example"
    )]
    Source,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}
