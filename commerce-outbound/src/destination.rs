//! Destinations of events by URL, file or `-`.

use crate::cloud_event::EventEncoder;
use crate::error::OutboundError;
use crate::file::FileDestination;
use crate::http;
use crate::limits::MAX_EVENTS_PER_REQUEST;
use crate::secrets::{RotatingSecret, SecretSource};
use crate::signature::Secret;
use crate::stdout::StdoutDestination;
use crate::webhook::{self, WebhookDestination};
use commerce_core::{Currency, Destination};
use std::fmt;
use std::path::Path;

/// The settings of a destination. The defaults suit a public receiver on the internet.
#[derive(Clone)]
pub struct DestinationOptions {
    /// The secrets that requests are signed with, in the format of Standard Webhooks: `whsec_` and the base64 of 24
    /// to 64 bytes, one per line and the newest first. Requests carry a signature of each, so that a receiver may
    /// have either one while a secret is rotated. Without it, requests are not signed. Lines in files and on standard
    /// output never are.
    pub secret: Option<SecretSource>,
    /// The largest number of events in one request: 1 sends each event by itself, more sends arrays. A file and
    /// standard output always get many lines in one write.
    pub batch: usize,
    /// Allows addresses of this machine and of private networks.
    pub allow_private: bool,
    /// The `source` of the events, a URI reference. An event is unique by source and id, so two stores that send to
    /// the same consumer need two sources.
    pub source: String,
    /// The store's currency, to be included in each event.
    pub currency: Option<Currency>,
}

impl Default for DestinationOptions {
    fn default() -> Self {
        let source = "/commerce".to_owned();
        Self { secret: None, batch: 1, allow_private: false, source, currency: None }
    }
}

impl fmt::Debug for DestinationOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationOptions")
            .field("secret", &self.secret)
            .field("batch", &self.batch)
            .field("allow_private", &self.allow_private)
            .field("source", &self.source)
            .field("currency", &self.currency)
            .finish()
    }
}

/// Returns the destination that `to` names: `https://...`, `http://...`, `file:PATH`, or `-` for standard output.
/// It does not connect or open the file yet.
///
/// # Errors
///
/// [`OutboundError`] when there is no such destination, or an option is invalid.
pub fn destination(
    to: &str,
    options: DestinationOptions,
) -> Result<Box<dyn Destination>, OutboundError> {
    if !(1..=MAX_EVENTS_PER_REQUEST).contains(&options.batch) {
        return Err(OutboundError::Batch);
    }
    let source = options.source;
    if !(1..=200).contains(&source.len()) || !source.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OutboundError::Source);
    }
    let encoder = EventEncoder { source, currency: options.currency };
    match to {
        "-" => Ok(Box::new(StdoutDestination::new(encoder))),
        _ => match to.split_once(':') {
            Some(("file", path)) if !path.is_empty() => {
                if path.starts_with("//") && !path.starts_with("///") {
                    return Err(OutboundError::File(
                        "write file:PATH, without slashes before PATH",
                    ));
                }
                if path.ends_with('/') || Path::new(path).is_dir() {
                    return Err(OutboundError::File("it is a directory: name a file in it"));
                }
                Ok(Box::new(FileDestination::new(path.into(), encoder)))
            }
            Some((scheme, _)) if is_http(scheme) => {
                let uri = http::address(to)?;
                let secret = options.secret;
                let secret = secret
                    .map(|source| RotatingSecret::new(source, Secret::all_standard))
                    .transpose()?;
                let (batch, allow_private) = (options.batch, options.allow_private);
                let limits = webhook::LIMITS;
                let webhook =
                    WebhookDestination::new(uri, encoder, secret, batch, allow_private, limits)?;
                Ok(Box::new(webhook))
            }
            _ => Err(OutboundError::UnknownDestination),
        },
    }
}

fn is_http(scheme: &str) -> bool {
    ["https", "http"].iter().any(|http| http.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_LINES_PER_WRITE;
    use rstest::rstest;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn options() -> DestinationOptions {
        DestinationOptions::default()
    }

    #[rstest]
    #[case::stdout("-", 1, MAX_LINES_PER_WRITE, 1)]
    #[case::file("file:events.ndjson", 1, MAX_LINES_PER_WRITE, 1)]
    #[case::file_url("file:///no/such/events.ndjson", 1, MAX_LINES_PER_WRITE, 1)]
    #[case::singles("http://shop.example/events", 1, 1, 16)]
    #[case::in_capitals("HTTP://SHOP.EXAMPLE/", 1, 1, 16)]
    #[case::batches("http://shop.example:8080", 100, 100, 4)]
    fn name_selects_batch_size_and_concurrency(
        #[case] to: &str,
        #[case] batch: usize,
        #[case] max_batch_size: usize,
        #[case] max_concurrency: usize,
    ) {
        let secret = Some(SecretSource::fixed(SECRET));
        let to = destination(to, DestinationOptions { secret, batch, ..options() }).unwrap();
        assert_eq!((to.max_batch_size(), to.max_concurrency()), (max_batch_size, max_concurrency));
    }

    #[rstest]
    #[case::empty("", options())]
    #[case::no_path("file:", options())]
    #[case::another_scheme("ftp://shop.example/", options())]
    #[case::only_a_name("shop.example", options())]
    #[case::no_host("http:///events", options())]
    #[case::with_a_password("http://user:hunter2@shop.example/", options())]
    #[case::no_file("file://", options())]
    #[case::a_host_of_a_file("file://hunter2/events", options())]
    #[case::a_directory("file:/", options())]
    #[case::a_directory_without_a_slash("file:src", options())]
    #[case::to_be_a_directory("file:no/such/", options())]
    #[case::no_port("http://shop.example:0/", options())]
    #[case::too_big_a_port("http://shop.example:65536/", options())]
    #[case::far_too_big_a_port("http://[2606:4700::1]:99999999/", options())]
    #[case::no_batch("-", DestinationOptions { batch: 0, ..options() })]
    #[case::too_big_a_batch("-", DestinationOptions { batch: 1_001, ..options() })]
    #[case::no_source("-", DestinationOptions { source: String::new(), ..options() })]
    #[case::no_uri("-", DestinationOptions { source: "my shop".to_owned(), ..options() })]
    #[case::no_secret(
        "http://shop.example/",
        DestinationOptions { secret: Some(SecretSource::fixed("hunter2")), ..options() }
    )]
    fn invalid_destination_is_refused_without_echoing_secrets(
        #[case] to: &str,
        #[case] options: DestinationOptions,
    ) {
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = destination(to, options).err().unwrap();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_path("file:")]
    #[case::another_scheme("ftp://shop.example/")]
    #[case::only_a_name("shop.example")]
    #[case::a_name_and_a_port("shop.example:8080")]
    fn unknown_destination_is_refused_as_such(#[case] to: &str) {
        let error = destination(to, options()).err().unwrap();
        assert!(matches!(error, OutboundError::UnknownDestination), "{error}");
    }
}
