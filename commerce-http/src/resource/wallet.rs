//! Balances, and what moves them.

use crate::api::Stop;
use crate::call::{Answered, Call, Reply, replied};
use crate::problem::Fault;
use commerce_core::{ChargeStatus, DebitBalance, Money, NewCharge};
use serde::Deserialize;

#[derive(Deserialize)]
struct Movement {
    amount: Money,
    note: Option<String>,
    payment_method: Option<String>,
}

pub(crate) fn balance(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().balance(call.customer)?))
}

pub(crate) fn charge(call: &Call<'_>) -> Answered {
    let Movement { amount, payment_method, .. } = call.read()?;
    let request = NewCharge { customer_id: call.customer, amount, payment_method };
    let key = call.key.as_ref().ok_or_else(|| Stop::fault(Fault::KeyMissing, "send a key"))?;
    let mut why = None;
    let outcome =
        call.shop().charge_telling(&request, key, &mut |text| why = Some(text.to_owned()));
    replied(outcome, |charge| {
        let place = format!("/v1/customers/{}/charges/{}", charge.customer_id, charge.id);
        match charge.status {
            ChargeStatus::Pending => Reply { detail: why, ..Reply::accepted(charge, place) },
            ChargeStatus::Succeeded | ChargeStatus::Failed => Reply::created(charge, place),
        }
    })
}

pub(crate) fn show_charge(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().charge_of(call.customer, call.id("charge_id"))?))
}

pub(crate) fn debit(call: &Call<'_>) -> Answered {
    let Movement { amount, note, .. } = call.read()?;
    let request = DebitBalance { customer_id: call.customer, amount, note };
    call.run(request, |debit| {
        let place = format!("/v1/customers/{}/debits/{}", debit.customer_id, debit.id);
        Reply::created(debit, place)
    })
}

pub(crate) fn show_debit(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().debit_of(call.customer, call.id("debit_id"))?))
}

pub(crate) fn ledger(call: &Call<'_>) -> Answered {
    Ok(call.priced_page(call.shop().ledger(call.customer, &call.page()?)?))
}

pub(crate) fn payments(call: &Call<'_>) -> Answered {
    Ok(call.priced_page(call.shop().payments(call.customer, &call.page()?)?))
}
