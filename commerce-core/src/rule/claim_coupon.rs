//! Claims a coupon, first come first served: exactly `quantity` in total, at most one per customer.

use super::Rule;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CouponId, CustomerId};
use crate::model::audit_trail::Action;
use crate::model::coupon::{OwnedCoupon, OwnedCouponStatus};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Claims a coupon for a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimCoupon {
    /// The campaign.
    pub coupon_id: CouponId,
    /// The claiming customer.
    pub customer_id: CustomerId,
}

impl Rule for ClaimCoupon {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.coupon(state, self.coupon_id);
        let claim = (self.coupon_id, self.customer_id);
        if !state.claims.is_loaded(claim) {
            needs.claims.insert(claim);
        } else if let Some(&owned) = state.claims.get(claim) {
            needs.owned_coupon(state, owned);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::CouponClaimed)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let Self { coupon_id, customer_id } = *self;
        state.known_customer(customer_id)?;
        let unknown = Refusal::CouponNotFound { coupon_id: Some(coupon_id), owned_coupon_id: None };
        let coupon = state.coupons.get(coupon_id).ok_or(unknown)?;
        if let Some(owned) = state.claims.get((coupon_id, customer_id)).copied() {
            let rank = state.owned_coupons.get(owned).map_or(0, |owned| owned.rank);
            return Err(Refusal::CouponAlreadyClaimed { coupon_id, owned_coupon_id: owned, rank });
        }
        if context.now < coupon.valid_from {
            return Err(Refusal::CouponNotStarted { coupon_id, valid_from: coupon.valid_from });
        }
        // A stop holds from its commit on, whatever the clock of this machine shows.
        let is_stopped = coupon.stopped_at.is_some();
        let is_over = |until: &Timestamp| is_stopped || context.now >= *until;
        if let Some(valid_until) = coupon.claims_until().filter(is_over) {
            return Err(Refusal::CouponExpired { coupon_id, valid_until });
        }
        if coupon.issued >= coupon.quantity {
            return Err(Refusal::CouponSoldOut { coupon_id, quantity: coupon.quantity });
        }

        let rank = coupon.issued.saturating_add(1);
        if let Some(coupon) = state.coupons.get_mut(coupon_id) {
            coupon.issued = rank;
        }
        let id = state.next_owned_coupon_id();
        let owned = OwnedCoupon {
            id,
            coupon_id,
            customer_id,
            rank,
            status: OwnedCouponStatus::Held,
            order_id: None,
            claimed_at: context.now,
        };
        state.claims.insert((coupon_id, customer_id), id);
        state.owned_coupons.insert(id, owned.clone());
        Ok(Output::OwnedCoupon(owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn claim(coupon: i64, customer: i64) -> ClaimCoupon {
        ClaimCoupon { coupon_id: CouponId::new(coupon), customer_id: CustomerId::new(customer) }
    }

    #[test]
    fn claims_rank_in_order_until_coupon_is_sold_out() {
        let mut world = World::default().with_coupon(1, 2);
        for customer in [30, 10, 20] {
            world = world.with_customer(customer, 0);
        }
        for (customer, expected) in [(30, 1), (10, 2)] {
            let Ok(Output::OwnedCoupon(owned)) = world.run(claim(1, customer)) else { panic!() };
            assert_eq!(owned.rank, expected);
        }
        let sold_out = Refusal::CouponSoldOut { coupon_id: CouponId::new(1), quantity: 2 };
        assert_eq!(world.refused(claim(1, 20)), sold_out);
    }

    #[rstest]
    #[case::unknown_customer(1, 9, 0, "customer_not_found")]
    #[case::unknown_coupon(9, 1, 0, "coupon_not_found")]
    #[case::twice(1, 2, 0, "coupon_already_claimed")]
    #[case::twice_though_sold_out(3, 2, 0, "coupon_already_claimed")]
    #[case::sold_out(3, 1, 0, "coupon_sold_out")]
    #[case::before_start(1, 1, -1, "coupon_not_started")]
    #[case::end_is_exclusive(1, 1, 1_000, "coupon_expired")]
    fn claim_refuses_repeats_sold_out_and_closed_campaigns(
        #[case] coupon: i64,
        #[case] customer: i64,
        #[case] seconds: i64,
        #[case] refused: &str,
    ) {
        let mut world = World::default()
            .with_customer(1, 0)
            .with_customer(2, 0)
            .with_coupon(1, 5)
            .with_coupon(3, 1);
        world.run(claim(1, 2)).unwrap();
        world.run(claim(3, 2)).unwrap();
        world.now = NOW.plus_seconds(seconds);
        assert_eq!(code(world.refused(claim(coupon, customer))), refused);
    }

    #[test]
    fn stop_holds_on_a_machine_with_a_clock_that_is_behind() {
        let mut world = World::default().with_customer(1, 0).with_coupon(1, 5);
        let stopped_at = NOW.plus_seconds(100);
        world.state.coupons.get_mut(CouponId::new(1)).unwrap().stopped_at = Some(stopped_at);
        let expired =
            Refusal::CouponExpired { coupon_id: CouponId::new(1), valid_until: stopped_at };
        assert_eq!(world.refused(claim(1, 1)), expired);
    }

    #[test]
    fn claim_succeeds_in_first_and_last_second_of_window() {
        for seconds in [0, 999] {
            let mut world = World::default().with_customer(1, 0).with_coupon(1, 5);
            world.now = NOW.plus_seconds(seconds);
            world.run(claim(1, 1)).unwrap();
        }
    }
}
