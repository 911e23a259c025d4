//! Stripe as a gateway: one `PaymentIntent` for each charge, confirmed when it is created, with the payer absent.
//!
//! Money must never be collected twice, nor collected and forgotten. Stripe repeats its first response for an
//! `Idempotency-Key`, for at least 24 hours. A younger charge is therefore requested again under the same key, and an
//! older one is only looked up. A charge is declined only by a response that only Stripe can give, and that states
//! that no money was taken. Every other response leaves the charge pending, to be requested again.

mod amount;
mod event;
mod intent;

use crate::error::OutboundError;
use crate::http::{self, Client, HttpResponse, Limits, plain};
use crate::secrets::{RotatingSecret, SecretSource, lines};
use crate::signature::Secret;
use commerce_core::{
    ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway, Timestamp, WebhookEvent,
};
use form_urlencoded::Serializer;
use intent::{Intent, StripeError};
use serde::Deserialize;
use std::fmt;
use std::time::{Duration, Instant};
use ureq::http::{Request, header};

/// The version of Stripe's API for all requests, whatever the default of the account is.
const VERSION: &str = "2024-06-20";

/// The age in seconds from which a charge is only looked up: an hour before Stripe may forget its key, for clock skew
/// and late requests.
const KEY_LIFETIME: i64 = 23 * 60 * 60;

/// The age in seconds from which a charge that Stripe does not know was never received: no request can be under way.
const NEVER_ARRIVED: i64 = 24 * 60 * 60;

/// The seconds by which the creation of an intent may precede its charge, by Stripe's clock.
const CLOCK_SKEW: i64 = 10 * 60;

/// The timeout of a lookup through pages of a hundred intents: enough for some ten thousand payments a day.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(14);

/// Stripe waits some seconds for the card's bank. Two requests in a row, which is the most, stay below 30 s.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(14),
    write: Duration::from_secs(2),
    body: Duration::from_secs(10),
    body_bytes: 4 * 1024 * 1024, // a page of a hundred intents with all they may hold
    connections: 8,
};

const _: () = assert!(LIMITS.whole.as_secs() < 15 && LOOKUP_TIMEOUT.as_secs() < 15);

/// The settings of [`Stripe`].
#[derive(Clone)]
pub struct StripeOptions {
    /// The URL of Stripe (default: `https://api.stripe.com`). A URL that is set may be private.
    pub url: Option<String>,
    /// The secret key, `sk_...` or `rk_...`, in the first line.
    pub key: SecretSource,
    /// The secrets of webhook signatures, `whsec_...`, one per line: a signature of any of them is accepted. Without it all
    /// webhooks are refused.
    pub webhook_secret: Option<SecretSource>,
}

impl fmt::Debug for StripeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeOptions").finish_non_exhaustive()
    }
}

/// The Stripe gateway. The payment method of a charge is the id of a card's `PaymentMethod`, `pm_...`.
pub struct Stripe {
    client: Client,
    /// The base URL, without a trailing slash.
    url: String,
    key: RotatingSecret<String>,
    webhook_secret: Option<RotatingSecret<Vec<Secret>>>,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl Stripe {
    /// Creates the gateway. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`OutboundError`] when the URL, the key or the secret cannot be used.
    pub fn new(options: StripeOptions) -> Result<Self, OutboundError> {
        Self::with_limits(options, LIMITS)
    }

    pub(crate) fn with_limits(
        options: StripeOptions,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let allow_private = options.url.is_some();
        let url = options.url.unwrap_or_else(|| "https://api.stripe.com".to_owned());
        let uri = http::address(&url)?;
        if uri.query().is_some() {
            return Err(OutboundError::Url("it must have no query"));
        }
        let secret = options.webhook_secret;
        Ok(Self {
            client: Client::new(&uri, allow_private, limits)?,
            url: url.trim_end_matches('/').to_owned(),
            key: RotatingSecret::new(options.key, key)?,
            webhook_secret: secret
                .map(|source| RotatingSecret::new(source, Secret::all_stripe))
                .transpose()?,
        })
    }

    /// Creates the intent under the charge's idempotency key, which collects the money.
    fn create(&self, request: &CollectRequest, amount: i64) -> Result<HttpResponse, String> {
        // A saved card belongs to a customer at Stripe: `cus_.../pm_...` names both.
        let method = request.payment_method.as_deref().unwrap_or_default();
        let (customer, method) = method.split_once('/').unwrap_or(("", method));
        let mut form = Serializer::new(String::new());
        if !customer.is_empty() {
            form.append_pair("customer", customer);
        }
        form.append_pair("amount", &amount.to_string())
            .append_pair("currency", &request.currency.code().to_ascii_lowercase())
            .append_pair("payment_method", method)
            // Cards give an immediate result; the account may have enabled methods that do not.
            .append_pair("payment_method_types[]", "card")
            .append_pair("confirm", "true")
            .append_pair("off_session", "true")
            .append_pair("metadata[charge]", &request.reference)
            .append_pair("metadata[charge_id]", &request.charge_id.to_string())
            .append_pair("metadata[customer_id]", &request.customer_id.to_string());
        let form = form.finish();
        let builder = Request::post(format!("{}/v1/payment_intents", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", &request.reference);
        self.send(builder, form.as_bytes())
    }

    fn get(&self, path: &str) -> Result<HttpResponse, String> {
        self.send(Request::get(format!("{}/v1/payment_intents{path}", self.url)), &[])
    }

    fn send(
        &self,
        request: ureq::http::request::Builder,
        body: &[u8],
    ) -> Result<HttpResponse, String> {
        let key = self.key.current();
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .header("stripe-version", VERSION)
            .body(body);
        let mut response = self.client.send(request.map_err(|error| error.to_string())?)?;
        // Parts of the body are logged and shown to payers, and a server may echo the key.
        let body = String::from_utf8_lossy(&response.body);
        if body.contains(&key) {
            response.body = body.replace(&key, "...").into_bytes();
        }
        Ok(response)
    }

    /// Returns the result of a charge by the response to [`Stripe::create`].
    fn charge_result(
        &self,
        response: &HttpResponse,
        request: &CollectRequest,
        amount: i64,
    ) -> ChargeResult {
        if response.status == 200 {
            return match serde_json::from_slice::<Intent>(&response.body) {
                // A repeated key gets the first response again: an intent that was processing then has to be
                // fetched by its id.
                Ok(intent) if intent.is_processing() => self.fetch(&intent.id, request, amount),
                Ok(intent) => intent.charge_result(request, amount),
                Err(_) => {
                    ChargeResult::Unknown { detail: "the response is no payment intent".to_owned() }
                }
            };
        }
        let error = StripeError::read(&response.body);
        match (response.status, error) {
            (402, Some(error)) => ChargeResult::Declined { reason: error.for_payer() },
            (400 | 404, Some(error)) if error.is_invalid_request() => {
                ChargeResult::Declined { reason: error.for_operator() }
            }
            (status, _) => unknown(status, &response.body),
        }
    }

    /// Fetches an intent by its id.
    fn fetch(&self, id: &str, request: &CollectRequest, amount: i64) -> ChargeResult {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return ChargeResult::Unknown {
                detail: "the payment intent has no valid id".to_owned(),
            };
        }
        match self.get(&format!("/{id}")) {
            Ok(response) => match serde_json::from_slice::<Intent>(&response.body) {
                Ok(intent) if response.status == 200 => intent.charge_result(request, amount),
                _ => unknown(response.status, &response.body),
            },
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    /// Looks up the intent of a charge among all intents since.
    fn look_up(&self, request: &CollectRequest, amount: i64) -> ChargeResult {
        let started = Instant::now();
        let from = request.created_at.plus_seconds(-CLOCK_SKEW).unix();
        let to = request.created_at.plus_seconds(NEVER_ARRIVED).plus_seconds(CLOCK_SKEW).unix();
        let first = format!("?limit=100&created[gte]={from}&created[lte]={to}");
        let mut page = first.clone();
        while started.elapsed() < LOOKUP_TIMEOUT {
            let response = match self.get(&page) {
                Ok(response) if response.status == 200 => response,
                Ok(response) => return unknown(response.status, &response.body),
                Err(detail) => return ChargeResult::Unknown { detail },
            };
            let Ok(Intents { data, has_more }) = serde_json::from_slice(&response.body) else {
                return ChargeResult::Unknown {
                    detail: "the response is no list of payment intents".to_owned(),
                };
            };
            if let Some(intent) = data.iter().find(|intent| intent.is_of(&request.reference)) {
                return intent.charge_result(request, amount);
            }
            match data.last() {
                Some(last) if has_more => page = format!("{first}&starting_after={}", last.id),
                _ => return absent(request),
            }
        }
        ChargeResult::Unknown { detail: "too many payments to look through".to_owned() }
    }
}

impl PaymentGateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let amount = match amount::to_stripe(request.amount, request.currency) {
            Ok(amount) => amount,
            Err(reason) => return ChargeResult::Declined { reason: reason.to_owned() },
        };
        if request.payment_method.as_deref().is_none_or(str::is_empty) {
            return ChargeResult::Declined { reason: "no payment method was named".to_owned() };
        }
        if age(request) >= KEY_LIFETIME {
            return self.look_up(request, amount);
        }
        match self.create(request, amount) {
            Ok(response) => self.charge_result(&response, request, amount),
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    fn parse_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        let invalid = |reason: &str| InvalidWebhook(reason.to_owned());
        let secret = self.webhook_secret.as_ref();
        let secret = secret.ok_or_else(|| invalid("there is no secret to verify it with"))?;
        let signature = signature.ok_or_else(|| invalid("it is not signed"))?;
        let mut verified = Err("there is no secret to verify it with");
        for secret in secret.current() {
            verified = verified.or_else(|_| secret.verify_stripe(signature, body, now));
        }
        verified.map_err(invalid)?;
        event::read(body)
    }

    fn warning(&self) -> Option<String> {
        let of_secret = || self.webhook_secret.as_ref()?.warning();
        self.key.warning().or_else(of_secret)
    }
}

/// Parses the key in the first line.
fn key(text: &str) -> Result<String, OutboundError> {
    let key = lines(text).next().unwrap_or_default();
    if !key.starts_with("sk_") && !key.starts_with("rk_") {
        return Err(OutboundError::GatewayKey("it must begin with sk_ or rk_"));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OutboundError::GatewayKey("it must be visible ASCII characters"));
    }
    Ok(key.to_owned())
}

/// A page of intents, newest first.
#[derive(Deserialize)]
struct Intents {
    data: Vec<Intent>,
    has_more: bool,
}

/// Returns the age of the charge, in seconds.
fn age(request: &CollectRequest) -> i64 {
    request.now.unix().saturating_sub(request.created_at.unix())
}

/// Returns the result of an old charge for which Stripe has no intent.
fn absent(request: &CollectRequest) -> ChargeResult {
    if age(request) < NEVER_ARRIVED {
        return ChargeResult::Unknown {
            detail: "Stripe has no payment intent for it yet".to_owned(),
        };
    }
    ChargeResult::Declined { reason: "the payment never reached the bank".to_owned() }
}

fn unknown(status: u16, body: &[u8]) -> ChargeResult {
    let text = StripeError::read(body).map_or_else(|| plain(body), |error| error.for_operator());
    ChargeResult::Unknown { detail: plain(format!("status {status}: {text}").as_bytes()) }
}

#[cfg(test)]
mod tests;
