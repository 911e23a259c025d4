//! A gateway that only pretends: for trying everything out before a real one is there.

use super::{ChargeResult, CollectRequest, PaymentGateway};

/// An amount that is declined.
const DECLINED: i64 = 402_402;
/// An amount whose answer gets lost, the money being collected all the same.
const LOST: i64 = 408_408;
/// An amount at which it breaks: there is no answer, and later it turns out that nothing was collected.
const BROKEN: i64 = 500_500;

/// A gateway that takes no real money and keeps nothing: what it says depends on the amount alone, in minor
/// units, so that each way a charge can go may be tried.
///
/// | amount | what happens |
/// | --- | --- |
/// | 402402 | it is declined |
/// | 408408 | there is no answer; asked again a second later or more, it was paid |
/// | 500500 | there is no answer; asked again a second later or more, it is declined |
/// | any other | it is paid |
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedGateway;

impl PaymentGateway for SimulatedGateway {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        let is_asked_again = request.now > request.created_at;
        let declined = |reason: &str| ChargeResult::Declined { reason: reason.to_owned() };
        match request.amount.minor() {
            DECLINED => declined("the simulated gateway declines this amount"),
            LOST | BROKEN if !is_asked_again => ChargeResult::Unknown {
                why: "the simulated gateway gives no answer to this amount at first".to_owned(),
            },
            BROKEN => declined("the simulated gateway broke at this amount"),
            _ => ChargeResult::Paid,
        }
    }
}
