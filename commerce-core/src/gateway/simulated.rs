//! A simulated gateway, for trying everything out without a real one.

use super::{ChargeResult, CollectRequest, PaymentGateway};

/// The amount that is declined.
const DECLINED: i64 = 402_402;
/// The amount that is collected while its answer is lost.
const ANSWER_LOST: i64 = 408_408;
/// The amount that gets no answer and turns out later not to be collected.
const FAILING: i64 = 500_500;

/// A gateway that takes no real money and stores nothing. Its result depends on the amount alone, in minor units, so
/// that each outcome of a charge can be tried.
///
/// | amount | result |
/// | --- | --- |
/// | 402402 | declined |
/// | 408408 | no answer; when asked again a second later or more, paid |
/// | 500500 | no answer; when asked again a second later or more, declined |
/// | any other | paid |
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedGateway;

impl PaymentGateway for SimulatedGateway {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let is_retry = request.now > request.created_at;
        let declined = |reason: &str| ChargeResult::Declined { reason: reason.to_owned() };
        match request.amount.minor() {
            DECLINED => declined("the simulated gateway declines this amount"),
            ANSWER_LOST | FAILING if !is_retry => ChargeResult::Unknown {
                detail: "the simulated gateway gives no answer to this amount at first".to_owned(),
            },
            FAILING => declined("the simulated gateway failed at this amount"),
            _ => ChargeResult::Paid,
        }
    }
}
