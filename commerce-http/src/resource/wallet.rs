//! Balances, and what moves them.

use crate::call::{Answered, Call, Reply};
use commerce_core::{ChargeBalance, DebitBalance, Money};
use serde::Deserialize;

#[derive(Deserialize)]
struct Movement {
    amount: Money,
    note: Option<String>,
}

pub(crate) fn balance(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().balance(call.customer)?))
}

pub(crate) fn charge(call: &Call<'_>) -> Answered {
    let Movement { amount, .. } = call.read()?;
    let ledger = format!("/v1/customers/{}/ledger", call.customer);
    let request = ChargeBalance { customer_id: call.customer, amount };
    call.run(request, |charge| Reply::created(charge, ledger))
}

pub(crate) fn debit(call: &Call<'_>) -> Answered {
    let Movement { amount, note } = call.read()?;
    let ledger = format!("/v1/customers/{}/ledger", call.customer);
    let request = DebitBalance { customer_id: call.customer, amount, note };
    call.run(request, |debit| Reply::created(debit, ledger))
}

pub(crate) fn ledger(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().ledger(call.customer, &call.page()?)?))
}

pub(crate) fn payments(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().payments(call.customer, &call.page()?)?))
}
