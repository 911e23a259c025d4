//! A simulated gateway, for trying everything out without a real one.

use super::{ChargeResult, CollectRequest, PaymentGateway, RefundRequest};
use crate::money::Money;

/// The amount that is declined.
const DECLINED: i64 = 402_402;
/// The amount that is collected or paid back while its answer is lost.
const ANSWER_LOST: i64 = 408_408;
/// The amount that gets no answer and turns out later not to be collected or paid back.
const FAILING: i64 = 500_500;

/// A gateway that takes no real money and stores nothing. Its result depends on the amount alone, in minor units, so
/// that each outcome of a charge, and of a refund, can be tried.
///
/// | amount of the charge or the refund | result |
/// | --- | --- |
/// | 402402 | declined |
/// | 408408 | no answer; when asked again a second later or more, paid or paid back |
/// | 500500 | no answer; when asked again a second later or more, declined |
/// | any other | paid or paid back |
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedGateway;

impl PaymentGateway for SimulatedGateway {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        result(request.amount, request.now > request.created_at)
    }

    fn refund(&self, request: &RefundRequest) -> ChargeResult {
        result(request.amount, request.now > request.created_at)
    }
}

fn result(amount: Money, is_retry: bool) -> ChargeResult {
    let declined = |reason: &str| ChargeResult::Declined { reason: reason.to_owned() };
    match amount.minor() {
        DECLINED => declined("the simulated gateway declines this amount"),
        ANSWER_LOST | FAILING if !is_retry => ChargeResult::Unknown {
            detail: "the simulated gateway gives no answer to this amount at first".to_owned(),
        },
        FAILING => declined("the simulated gateway failed at this amount"),
        _ => ChargeResult::Paid,
    }
}
