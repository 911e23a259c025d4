//! From what an operator writes to a place that events are delivered to.

use crate::cloud_event::Form;
use crate::error::OutboundError;
use crate::file::FileDestination;
use crate::http;
use crate::secrets::{Rotating, SecretSource};
use crate::signature::Secret;
use crate::stdout::StdoutDestination;
use crate::webhook::{self, WebhookDestination};
use commerce_core::{Currency, Destination};
use std::fmt;
use std::path::Path;

/// The most events of one request: with usual orders some hundred kilobytes, and never more than 64 MiB.
pub const MAX_EVENTS_A_REQUEST: usize = 1_000;

/// How many events are written to a file or to standard output at once: with usual orders some hundred
/// kilobytes between two waits for the disk.
pub(crate) const LINES_AT_ONCE: usize = 500;

/// How events are delivered; the default is what a stranger on the internet is told.
#[derive(Clone)]
pub struct DestinationOptions {
    /// What requests are signed with, as Standard Webhooks writes secrets: `whsec_` and the base64 of 24
    /// to 64 bytes, one a line and the newest first. Requests bear a signature of each, so that a receiver may
    /// know either while a secret is rotated. Without it, requests are not signed. Files and standard output
    /// never are.
    pub secret: Option<SecretSource>,
    /// The most events of one request: 1 sends each event by itself, more sends arrays. Files and
    /// standard output take many lines at once in any case.
    pub batch: usize,
    /// Whether addresses of this machine and of private networks may be sent to.
    pub allow_private: bool,
    /// What the events say they come from, a URI reference. With the id it makes an event unlike any other,
    /// so two stores that tell the same consumer need two sources.
    pub source: String,
    /// The store's currency, which each event then names.
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

/// The destination that `to` names: `https://...`, `http://...`, `file:PATH`, or `-` for standard output.
/// Nobody is connected to yet, and no file opened.
///
/// # Errors
///
/// [`OutboundError`] when there is no such destination, or an option makes no sense.
pub fn destination(
    to: &str,
    options: DestinationOptions,
) -> Result<Box<dyn Destination>, OutboundError> {
    if !(1..=MAX_EVENTS_A_REQUEST).contains(&options.batch) {
        return Err(OutboundError::Batch);
    }
    let source = options.source;
    if !(1..=200).contains(&source.len()) || !source.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OutboundError::Source);
    }
    let form = Form { source, currency: options.currency };
    match to {
        "-" => Ok(Box::new(StdoutDestination::new(form))),
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
                Ok(Box::new(FileDestination::new(path.into(), form)))
            }
            Some((scheme, _)) if is_http(scheme) => {
                let uri = http::address(to)?;
                let secret = options.secret;
                let secret =
                    secret.map(|source| Rotating::new(source, Secret::all_standard)).transpose()?;
                let (batch, allow_private) = (options.batch, options.allow_private);
                let limits = webhook::LIMITS;
                let webhook =
                    WebhookDestination::new(uri, form, secret, batch, allow_private, limits)?;
                Ok(Box::new(webhook))
            }
            _ => Err(OutboundError::UnknownDestination),
        },
    }
}

fn is_http(scheme: &str) -> bool {
    ["https", "http"].iter().any(|known| known.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn options() -> DestinationOptions {
        DestinationOptions::default()
    }

    #[rstest]
    #[case::stdout("-", 1, LINES_AT_ONCE, 1)]
    #[case::file("file:events.ndjson", 1, LINES_AT_ONCE, 1)]
    #[case::file_url("file:///no/such/events.ndjson", 1, LINES_AT_ONCE, 1)]
    #[case::singles("http://shop.example/events", 1, 1, 16)]
    #[case::in_capitals("HTTP://SHOP.EXAMPLE/", 1, 1, 16)]
    #[case::batches("http://shop.example:8080", 100, 100, 4)]
    fn a_destination_is_what_it_is_called(
        #[case] to: &str,
        #[case] batch: usize,
        #[case] takes: usize,
        #[case] max_concurrency: usize,
    ) {
        let secret = Some(SecretSource::fixed(SECRET));
        let to = destination(to, DestinationOptions { secret, batch, ..options() }).unwrap();
        assert_eq!((to.max_batch_size(), to.max_concurrency()), (takes, max_concurrency));
    }

    #[rstest]
    #[case::nothing("", options())]
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
    fn what_cannot_be_is_refused_without_repeating_it(
        #[case] to: &str,
        #[case] options: DestinationOptions,
    ) {
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = destination(to, options).err().unwrap();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_path("file:")]
    #[case::another_scheme("ftp://shop.example/")]
    #[case::only_a_name("shop.example")]
    #[case::a_name_and_a_port("shop.example:8080")]
    fn what_is_no_destination_is_told_what_is_one(#[case] to: &str) {
        let told = destination(to, options()).err().unwrap();
        assert!(matches!(told, OutboundError::UnknownDestination), "{told}");
    }
}
