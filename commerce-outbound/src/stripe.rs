//! Stripe as a gateway: one `PaymentIntent` for each charge, confirmed when it is created, with the payer absent.
//!
//! Money must never be collected twice, nor collected and forgotten. Stripe repeats its first response for an
//! `Idempotency-Key`, for at least 24 hours. A younger charge is therefore requested again under the same key, and an
//! older one is only looked up. A charge is declined only by a response that only Stripe can give, and that states
//! that no money was taken. Every other response leaves the charge pending, to be requested again.
//!
//! A refund of a charge follows the same rules, with a key of its own. Webhooks about refunds and disputes name no charge of
//! this service, or not all of its refunds: the rest is fetched while they are read.

mod amount;
mod event;
mod intent;
mod refund;

use crate::error::OutboundError;
use crate::http::{self, Client, HttpResponse, Limits, plain};
use crate::secrets::{RotatingSecret, SecretSource, lines};
use crate::signature::Secret;
use commerce_core::{
    ChargeResult, CollectRequest, Currency, InvalidWebhook, PaymentGateway, RefundRequest,
    ReportedRefund, Timestamp, WebhookEvent,
};
use form_urlencoded::Serializer;
use intent::{Intent, StripeError};
use refund::Refund;
use serde::Deserialize;
use serde::de::DeserializeOwned;
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

/// The timeout of a lookup through pages of a hundred intents or refunds: enough for some ten thousand payments a day.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(14);

/// Stripe waits some seconds for the card's bank. Two requests in a row, or a lookup and a request, stay below 30 s.
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
        self.send(Request::get(format!("{}/v1/{path}", self.url)), &[])
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
        if !is_id(id) {
            return ChargeResult::Unknown {
                detail: "the payment intent has no valid id".to_owned(),
            };
        }
        match self.get(&format!("payment_intents/{id}")) {
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
        let found =
            self.find_intent(&request.reference, request.created_at, NEVER_ARRIVED, started);
        match found {
            Ok(Some(intent)) => intent.charge_result(request, amount),
            Ok(None) => absent(age(request.created_at, request.now)),
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    /// Finds the intent with that reference among those that were created up to some seconds after its charge.
    fn find_intent(
        &self,
        reference: &str,
        charged_at: Timestamp,
        seconds: i64,
        started: Instant,
    ) -> Result<Option<Intent>, String> {
        let from = charged_at.plus_seconds(-CLOCK_SKEW).unix();
        let to = charged_at.plus_seconds(seconds).plus_seconds(CLOCK_SKEW).unix();
        let first = format!("payment_intents?limit=100&created[gte]={from}&created[lte]={to}");
        self.find(&first, started, |intent: &Intent| intent.is_of(reference))
    }

    /// Finds an object in a list of Stripe, by the path of the first page.
    fn find<T: Listed>(
        &self,
        first: &str,
        started: Instant,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, String> {
        let mut found = None;
        self.visit(first, started, |object| {
            let is_found = is_wanted(&object);
            found = is_found.then_some(object);
            !is_found
        })?;
        Ok(found)
    }

    /// Passes the objects of a list to `visit`, page by page, until it returns false.
    fn visit<T: Listed>(
        &self,
        first: &str,
        started: Instant,
        mut visit: impl FnMut(T) -> bool,
    ) -> Result<(), String> {
        let mut page = first.to_owned();
        while started.elapsed() < LOOKUP_TIMEOUT {
            let response = self.get(&page)?;
            if response.status != 200 {
                return Err(failure(response.status, &response.body));
            }
            let Ok(List { data, has_more }) = serde_json::from_slice::<List<T>>(&response.body)
            else {
                return Err(format!("the response is no list of {}", T::NAME));
            };
            let last = data.last().map(|object| object.id().to_owned());
            for object in data {
                if !visit(object) {
                    return Ok(());
                }
            }
            match last {
                Some(last) if has_more && is_id(&last) => {
                    page = format!("{first}&starting_after={last}");
                }
                _ => return Ok(()),
            }
        }
        Err(format!("too many {} to look through", T::NAME))
    }

    /// Finds the intent that a charge was collected with: nearly always it was created within seconds.
    fn intent_to_refund(
        &self,
        request: &RefundRequest,
        started: Instant,
    ) -> Result<Intent, ChargeResult> {
        let find = |seconds| {
            self.find_intent(&request.charge_reference, request.charged_at, seconds, started)
        };
        let found = match find(0) {
            Ok(None) => find(NEVER_ARRIVED),
            found => found,
        };
        let absent = || "Stripe has no payment intent of the charge".to_owned();
        found
            .and_then(|intent| intent.filter(|intent| is_id(&intent.id)).ok_or_else(absent))
            .map_err(|detail| ChargeResult::Unknown { detail })
    }

    /// Creates the refund under its idempotency key, which pays the money back.
    fn create_refund(
        &self,
        request: &RefundRequest,
        intent: &Intent,
        amount: i64,
    ) -> Result<HttpResponse, String> {
        let mut form = Serializer::new(String::new());
        form.append_pair("payment_intent", &intent.id)
            .append_pair("amount", &amount.to_string())
            .append_pair("metadata[refund]", &request.reference)
            .append_pair("metadata[charge_id]", &request.charge_id.to_string());
        let form = form.finish();
        let builder = Request::post(format!("{}/v1/refunds", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", &request.reference);
        self.send(builder, form.as_bytes())
    }

    /// Returns the result of a refund by the response to [`Stripe::create_refund`].
    fn refund_result(
        &self,
        response: &HttpResponse,
        request: &RefundRequest,
        amount: i64,
    ) -> ChargeResult {
        let unreadable =
            || ChargeResult::Unknown { detail: "the response is no refund".to_owned() };
        if response.status == 200 {
            return match serde_json::from_slice::<Refund>(&response.body) {
                // A repeated key gets the first response again: a refund that was pending then has to be fetched.
                Ok(refund) if refund.is_pending() && is_id(&refund.id) => {
                    match self.fetch_object::<Refund>(&format!("refunds/{}", refund.id)) {
                        Ok(refund) => refund.result(request, amount),
                        Err(detail) => ChargeResult::Unknown { detail },
                    }
                }
                Ok(refund) => refund.result(request, amount),
                Err(_) => unreadable(),
            };
        }
        match (response.status, StripeError::read(&response.body)) {
            (402, Some(error)) => ChargeResult::Declined { reason: error.for_operator() },
            (400 | 404, Some(error)) if error.is_invalid_request() => {
                ChargeResult::Declined { reason: error.for_operator() }
            }
            (status, _) => unknown(status, &response.body),
        }
    }

    fn fetch_object<T: Listed>(&self, path: &str) -> Result<T, String> {
        let response = self.get(path)?;
        if response.status != 200 {
            return Err(failure(response.status, &response.body));
        }
        let object = serde_json::from_slice(&response.body);
        object.map_err(|_| format!("the response is none of the {}", T::NAME))
    }

    /// Looks up a refund among those of its payment.
    fn look_up_refund(
        &self,
        request: &RefundRequest,
        intent: &Intent,
        amount: i64,
        started: Instant,
    ) -> ChargeResult {
        let first = format!("refunds?limit=100&payment_intent={}", intent.id);
        let is_wanted = |refund: &Refund| refund.reference() == Some(&request.reference);
        match self.find(&first, started, is_wanted) {
            Ok(Some(refund)) => refund.result(request, amount),
            Ok(None) if age(request.created_at, request.now) >= NEVER_ARRIVED => {
                ChargeResult::Declined { reason: "the refund never reached Stripe".to_owned() }
            }
            Ok(None) => {
                ChargeResult::Unknown { detail: "Stripe has no such refund yet".to_owned() }
            }
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }
}

/// Fetches what a webhook lacks.
impl event::Source for Stripe {
    fn refunds(&self, charge: &str, currency: Currency) -> Result<Vec<ReportedRefund>, String> {
        if !is_id(charge) {
            return Err("the charge has no valid id".to_owned());
        }
        let mut refunds = Vec::new();
        let first = format!("refunds?limit=100&charge={charge}");
        self.visit(&first, Instant::now(), |refund: Refund| {
            if refund.is_alive() {
                refunds.push(refund.reported(currency));
            }
            true
        })?;
        let exact: Option<Vec<ReportedRefund>> = refunds.into_iter().collect();
        exact.ok_or_else(|| "a refund has no valid amount in its currency".to_owned())
    }

    fn reference(&self, intent: &str) -> Result<Option<String>, String> {
        if !is_id(intent) {
            return Err("the payment intent has no valid id".to_owned());
        }
        let intent: Intent = self.fetch_object(&format!("payment_intents/{intent}"))?;
        Ok(intent.reference().map(str::to_owned))
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
        if age(request.created_at, request.now) >= KEY_LIFETIME {
            return self.look_up(request, amount);
        }
        match self.create(request, amount) {
            Ok(response) => self.charge_result(&response, request, amount),
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    fn refund(&self, request: &RefundRequest) -> ChargeResult {
        let amount = match amount::to_stripe(request.amount, request.currency) {
            Ok(amount) => amount,
            Err(reason) => return ChargeResult::Declined { reason: reason.to_owned() },
        };
        let started = Instant::now();
        let intent = match self.intent_to_refund(request, started) {
            Ok(intent) => intent,
            Err(unknown) => return unknown,
        };
        if age(request.created_at, request.now) >= KEY_LIFETIME {
            return self.look_up_refund(request, &intent, amount, started);
        }
        match self.create_refund(request, &intent, amount) {
            Ok(response) => self.refund_result(&response, request, amount),
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
        event::read(body, self)
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

/// A page of a list, newest first.
#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    has_more: bool,
}

/// An object that Stripe lists.
trait Listed: DeserializeOwned {
    /// The name of a list of them.
    const NAME: &'static str;

    fn id(&self) -> &str;
}

impl Listed for Intent {
    const NAME: &'static str = "payment intents";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Refund {
    const NAME: &'static str = "refunds";

    fn id(&self) -> &str {
        &self.id
    }
}

/// Returns true for an id that can be put into a URL.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the age of a charge or a refund, in seconds.
fn age(created_at: Timestamp, now: Timestamp) -> i64 {
    now.unix().saturating_sub(created_at.unix())
}

/// Returns the result of an old charge for which Stripe has no intent.
fn absent(age: i64) -> ChargeResult {
    if age < NEVER_ARRIVED {
        return ChargeResult::Unknown {
            detail: "Stripe has no payment intent for it yet".to_owned(),
        };
    }
    ChargeResult::Declined { reason: "the payment never reached the bank".to_owned() }
}

fn unknown(status: u16, body: &[u8]) -> ChargeResult {
    ChargeResult::Unknown { detail: failure(status, body) }
}

fn failure(status: u16, body: &[u8]) -> String {
    let text = StripeError::read(body).map_or_else(|| plain(body), |error| error.for_operator());
    plain(format!("status {status}: {text}").as_bytes())
}

#[cfg(test)]
mod tests;
