//! What an operator can have got wrong about an outside party. Nothing of a URL or a secret is repeated.

/// Why a destination or a gateway cannot be used as it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// It names no place.
    #[error("events go to https://..., http://..., file:PATH, or - for standard output")]
    UnknownDestination,
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
    /// The file cannot be used.
    #[error("the file cannot be used: {0}")]
    File(&'static str),
    /// It lies inside, where nothing is sent unless it is allowed.
    #[error("the address is private or of this machine, which has to be allowed")]
    PrivateAddress,
    /// The secret that events are signed with, or notices are checked with, is none.
    #[error("the secret cannot be used: {0}")]
    Secret(&'static str),
    /// The secret or the key cannot be read.
    #[error("the secret cannot be read: {0}")]
    Unreadable(String),
    /// The key of the gateway is none.
    #[error("the gateway's key cannot be used: {0}")]
    GatewayKey(&'static str),
    /// More events a request than there may be, or none.
    #[error("a request carries 1 to {max} events", max = crate::destination::MAX_EVENTS_A_REQUEST)]
    Batch,
    /// What the events are said to come from is no URI reference.
    #[error(
        "a source is 1 to 200 visible ASCII characters, like /commerce or https://shop.example"
    )]
    Source,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}
