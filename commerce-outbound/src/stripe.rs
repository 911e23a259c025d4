//! Stripe as a gateway: a `PaymentIntent` a charge, confirmed at once, while the payer is away.
//!
//! What must not happen is that money is taken twice, or taken and forgotten. Stripe answers a repeated
//! `Idempotency-Key` as it did the first time, for at least 24 hours; so a charge is asked for again and
//! again under one key while it is younger than that, and only looked up when it is older. Only an answer
//! that Stripe alone can give, and that says that no money was taken, declines a charge. Everything else
//! leaves it open, to be asked again.

mod amount;
mod intent;
mod notice;

use crate::error::OutboundError;
use crate::http::{self, Client, HttpResponse, Limits, plain};
use crate::secrets::{Rotating, SecretSource, lines};
use crate::signature::Secret;
use commerce_core::{
    ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway, Timestamp, WebhookEvent,
};
use form_urlencoded::Serializer;
use intent::{Intent, Problem};
use serde::Deserialize;
use std::fmt;
use std::time::{Duration, Instant};
use ureq::http::{Request, header};

/// The version of Stripe's API that this speaks, whatever the account's own is.
const VERSION: &str = "2024-06-20";

/// When a charge is too old to be asked for anew, in seconds: an hour before Stripe may forget its key,
/// for clocks that differ and requests that are late.
const KEY_MEMORY: i64 = 23 * 60 * 60;

/// When a charge that Stripe does not know cannot be on its way any more either.
const NEVER_ARRIVED: i64 = 24 * 60 * 60;

/// How much earlier than the charge Stripe's clock may say its intent was made.
const CLOCK_SKEW: i64 = 10 * 60;

/// How long looking up goes on through pages of a hundred: some ten thousand payments a day.
const LOOK_UP: Duration = Duration::from_secs(14);

/// Stripe asks the card's bank and waits for it, for a few seconds. Two such waits, which is the most
/// there are in a row, stay below 30 s.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(14),
    write: Duration::from_secs(2),
    body: Duration::from_secs(10),
    body_bytes: 4 * 1024 * 1024, // a page of a hundred intents with all they may hold
    connections: 8,
};

const _: () = assert!(LIMITS.whole.as_secs() < 15 && LOOK_UP.as_secs() < 15);

/// How Stripe is reached.
#[derive(Clone)]
pub struct StripeOptions {
    /// Where Stripe is, when it is not at `https://api.stripe.com`. A place that is named may be private.
    pub url: Option<String>,
    /// The secret key, `sk_...` or `rk_...`, in the first line.
    pub key: SecretSource,
    /// The secrets that notices are signed with, `whsec_...`, one a line: a notice is believed that any of them has
    /// signed. Without it no notice is believed.
    pub webhook_secret: Option<SecretSource>,
}

impl fmt::Debug for StripeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeOptions").finish_non_exhaustive()
    }
}

/// Stripe. The payment method of a charge is the id of a card's `PaymentMethod`, `pm_...`.
pub struct Stripe {
    client: Client,
    /// Without a slash at its end.
    url: String,
    key: Rotating<String>,
    webhook_secret: Option<Rotating<Vec<Secret>>>,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl Stripe {
    /// Stripe, as those options reach it. Nobody is connected to yet.
    ///
    /// # Errors
    ///
    /// [`OutboundError`] when the URL, the key or the secret cannot be used.
    pub fn new(options: StripeOptions) -> Result<Self, OutboundError> {
        Self::within(options, LIMITS)
    }

    pub(crate) fn within(options: StripeOptions, limits: Limits) -> Result<Self, OutboundError> {
        let named = options.url.is_some();
        let url = options.url.unwrap_or_else(|| "https://api.stripe.com".to_owned());
        let uri = http::address(&url)?;
        if uri.query().is_some() {
            return Err(OutboundError::Url("it must have no query"));
        }
        let secret = options.webhook_secret;
        Ok(Self {
            client: Client::new(&uri, named, limits)?,
            url: url.trim_end_matches('/').to_owned(),
            key: Rotating::new(options.key, key)?,
            webhook_secret: secret
                .map(|source| Rotating::new(source, Secret::all_stripe))
                .transpose()?,
        })
    }

    /// Asks for the money, under the charge's own key.
    fn create(&self, request: &CollectRequest, amount: i64) -> Result<HttpResponse, String> {
        // A card that is kept is a customer's there: `cus_.../pm_...` names both.
        let method = request.payment_method.as_deref().unwrap_or_default();
        let (customer, method) = method.split_once('/').unwrap_or(("", method));
        let mut form = Serializer::new(String::new());
        if !customer.is_empty() {
            form.append_pair("customer", customer);
        }
        form.append_pair("amount", &amount.to_string())
            .append_pair("currency", &request.currency.code().to_ascii_lowercase())
            .append_pair("payment_method", method)
            // Cards say at once what became of it; an account may have switched on what does not.
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
        let mut answer = self.client.send(request.map_err(|error| error.to_string())?)?;
        // What is told stands in logs and is shown to payers, and whoever answers may repeat what it was sent.
        let body = String::from_utf8_lossy(&answer.body);
        if body.contains(&key) {
            answer.body = body.replace(&key, "...").into_bytes();
        }
        Ok(answer)
    }

    /// What an answer to [`Stripe::create`] means.
    fn judge(&self, answer: &HttpResponse, request: &CollectRequest, amount: i64) -> ChargeResult {
        if answer.status == 200 {
            return match serde_json::from_slice::<Intent>(&answer.body) {
                // A repeated key is answered as it was the first time, so what was under way then has to
                // be asked for by its name.
                Ok(intent) if intent.is_under_way() => self.ask(&intent.id, request, amount),
                Ok(intent) => intent.judge(request, amount),
                Err(_) => {
                    ChargeResult::Unknown { detail: "an answer that is no intent".to_owned() }
                }
            };
        }
        let problem = Problem::read(&answer.body);
        match (answer.status, problem) {
            (402, Some(problem)) => ChargeResult::Declined { reason: problem.for_payer() },
            (400 | 404, Some(problem)) if problem.is_invalid_request() => {
                ChargeResult::Declined { reason: problem.for_operator() }
            }
            (status, _) => unknown(status, &answer.body),
        }
    }

    /// Asks for an intent by its id.
    fn ask(&self, id: &str, request: &CollectRequest, amount: i64) -> ChargeResult {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return ChargeResult::Unknown { detail: "an intent without an id".to_owned() };
        }
        match self.get(&format!("/{id}")) {
            Ok(answer) => match serde_json::from_slice::<Intent>(&answer.body) {
                Ok(intent) if answer.status == 200 => intent.judge(request, amount),
                _ => unknown(answer.status, &answer.body),
            },
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    /// Looks for the intent of a charge among all that were made since.
    fn look_up(&self, request: &CollectRequest, amount: i64) -> ChargeResult {
        let started = Instant::now();
        let from = request.created_at.plus_seconds(-CLOCK_SKEW).unix();
        let to = request.created_at.plus_seconds(NEVER_ARRIVED).plus_seconds(CLOCK_SKEW).unix();
        let first = format!("?limit=100&created[gte]={from}&created[lte]={to}");
        let mut page = first.clone();
        while started.elapsed() < LOOK_UP {
            let answer = match self.get(&page) {
                Ok(answer) if answer.status == 200 => answer,
                Ok(answer) => return unknown(answer.status, &answer.body),
                Err(detail) => return ChargeResult::Unknown { detail },
            };
            let Ok(Intents { data, has_more }) = serde_json::from_slice(&answer.body) else {
                return ChargeResult::Unknown { detail: "a list that is none".to_owned() };
            };
            if let Some(intent) = data.iter().find(|intent| intent.is_of(&request.reference)) {
                return intent.judge(request, amount);
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
        if age(request) >= KEY_MEMORY {
            return self.look_up(request, amount);
        }
        match self.create(request, amount) {
            Ok(answer) => self.judge(&answer, request, amount),
            Err(detail) => ChargeResult::Unknown { detail },
        }
    }

    fn parse_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        let bad = |why: &str| InvalidWebhook(why.to_owned());
        let secret = self.webhook_secret.as_ref();
        let secret = secret.ok_or_else(|| bad("there is no secret to check it with"))?;
        let signature = signature.ok_or_else(|| bad("it is not signed"))?;
        let mut checked = Err("there is no secret to check it with");
        for secret in secret.current() {
            checked = checked.or_else(|_| secret.check_stripe(signature, body, now));
        }
        checked.map_err(bad)?;
        notice::read(body)
    }

    fn warning(&self) -> Option<String> {
        let of_notices = || self.webhook_secret.as_ref()?.warning();
        self.key.warning().or_else(of_notices)
    }
}

/// The key in the first line.
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

/// A page of intents, the newest first.
#[derive(Deserialize)]
struct Intents {
    data: Vec<Intent>,
    has_more: bool,
}

/// How old the charge is, in seconds.
fn age(request: &CollectRequest) -> i64 {
    request.now.unix().saturating_sub(request.created_at.unix())
}

/// What it means that Stripe has no intent for an old charge.
fn absent(request: &CollectRequest) -> ChargeResult {
    if age(request) < NEVER_ARRIVED {
        return ChargeResult::Unknown { detail: "Stripe has not heard of it yet".to_owned() };
    }
    ChargeResult::Declined { reason: "the payment never reached the bank".to_owned() }
}

fn unknown(status: u16, body: &[u8]) -> ChargeResult {
    let said = Problem::read(body).map_or_else(|| plain(body), |problem| problem.for_operator());
    ChargeResult::Unknown { detail: plain(format!("status {status}: {said}").as_bytes()) }
}

#[cfg(test)]
mod tests;
