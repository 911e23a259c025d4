//! Balances, charges, refunds, debits, payments and the ledger.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success, respond};
use crate::error::HandlerError;
use crate::problem::HttpError;
use commerce_core::{
    ChargeFilter, ChargeStatus, DebitBalance, Key, Money, NewCharge, NewRefund, RefundStatus,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Movement {
    amount: Money,
    note: Option<String>,
    payment_method: Option<String>,
}

#[derive(Deserialize)]
struct RefundBody {
    amount: Option<Money>,
}

/// The key of a call that requires one.
fn key<'a>(call: &'a RequestContext<'_>) -> Result<&'a Key, HandlerError> {
    call.key.as_ref().ok_or_else(|| HandlerError::http(HttpError::KeyMissing, "send a key"))
}

pub(crate) fn balance(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().balance(call.customer)?))
}

pub(crate) fn charge(call: &RequestContext<'_>) -> HandlerResult {
    let Movement { amount, payment_method, .. } = call.read()?;
    let request = NewCharge { customer_id: call.customer, amount, payment_method };
    let mut diagnostics = None;
    let on_pending = &mut |text: &str| diagnostics = Some(text.to_owned());
    let outcome = call.shop().charge_by(call.actor, &request, key(call)?, on_pending);
    respond(outcome, |charge| {
        let location = format!("/v1/customers/{}/charges/{}", charge.customer_id, charge.id);
        match charge.status {
            ChargeStatus::Pending => {
                Success { log_detail: diagnostics, ..Success::accepted(charge, location) }
            }
            ChargeStatus::Succeeded | ChargeStatus::Failed => Success::created(charge, location),
        }
    })
}

pub(crate) fn list_charges(call: &RequestContext<'_>) -> HandlerResult {
    let filter =
        ChargeFilter { customer_id: call.parameter("customer_id")?, status: call.word("status")? };
    Ok(Success::ok(&call.shop().list_charges(&filter, &call.page()?)?))
}

pub(crate) fn show_charge(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().charge_of(call.customer, call.id("charge_id"))?))
}

pub(crate) fn refund(call: &RequestContext<'_>) -> HandlerResult {
    let RefundBody { amount } = call.read()?;
    let (charge_id, customer_id) = (call.id("charge_id"), Some(call.customer));
    let request = NewRefund { charge_id, customer_id, amount };
    let mut diagnostics = None;
    let on_pending = &mut |text: &str| diagnostics = Some(text.to_owned());
    let outcome = call.shop().refund_charge(call.actor, &request, key(call)?, on_pending);
    respond(outcome, |refund| {
        let location =
            format!("/v1/customers/{}/charges/{}/refunds", refund.customer_id, refund.charge_id);
        match refund.status {
            RefundStatus::Pending => {
                Success { log_detail: diagnostics, ..Success::accepted(refund, location) }
            }
            RefundStatus::Succeeded | RefundStatus::Failed => Success::created(refund, location),
        }
    })
}

pub(crate) fn refunds(call: &RequestContext<'_>) -> HandlerResult {
    let charge = call.id("charge_id");
    Ok(Success::ok(&call.shop().refunds(charge, Some(call.customer), &call.page()?)?))
}

pub(crate) fn debit(call: Call<'_>) -> Submission<'_> {
    let Movement { amount, note, .. } = call.read()?;
    let request = DebitBalance { customer_id: call.customer, amount, note };
    call.submit(request, |debit| {
        let location = format!("/v1/customers/{}/debits/{}", debit.customer_id, debit.id);
        Success::created(debit, location)
    })
}

pub(crate) fn show_debit(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().debit_of(call.customer, call.id("debit_id"))?))
}

pub(crate) fn ledger(call: &RequestContext<'_>) -> HandlerResult {
    Ok(call.priced_page(call.shop().ledger(call.customer, &call.page()?)?))
}

pub(crate) fn payments(call: &RequestContext<'_>) -> HandlerResult {
    Ok(call.priced_page(call.shop().payments(call.customer, &call.page()?)?))
}
