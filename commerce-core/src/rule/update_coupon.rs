//! Changes a campaign: its name, quantity or end, and stops it. Ranks of claimed coupons stay.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CouponId, CustomerId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_COUPONS;
use crate::model::audit_trail::Action;
use crate::model::coupon::{Coupon, CouponUsage};
use crate::model::patch::Patch;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Changes a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateCoupon {
    /// The campaign.
    pub coupon_id: CouponId,
    /// The new name; default: unchanged.
    pub name: Option<String>,
    /// The new number of coupons to give out, at least those claimed already and at most [`MAX_COUPONS`]; default:
    /// unchanged.
    pub quantity: Option<i64>,
    /// The new end of the window (exclusive), after its start; default: unchanged.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub valid_until: Patch<Timestamp>,
    /// True to stop the campaign: from now on no coupon is claimed, and claimed ones stay usable until the end of the window.
    /// False to resume it. Default: unchanged.
    pub stopped: Option<bool>,
}

impl UpdateCoupon {
    /// Creates an update without changes.
    #[must_use]
    pub const fn new(coupon_id: CouponId) -> Self {
        Self { coupon_id, name: None, quantity: None, valid_until: Patch::Keep, stopped: None }
    }

    /// Creates an update that stops the campaign; a stopped campaign stays as it is.
    #[must_use]
    pub fn stop(coupon_id: CouponId) -> Self {
        Self { stopped: Some(true), ..Self::new(coupon_id) }
    }

    fn validate(&self) -> Result<(), Refusal> {
        let mut checks = Checks::default();
        checks.that(*self != Self::new(self.coupon_id), "", || {
            "give a new name, quantity or end, or stop the campaign".to_owned()
        });
        if let Some(name) = &self.name {
            checks.text(name, "/name");
        }
        if let Some(quantity) = self.quantity {
            checks.integer(quantity, 1..=MAX_COUPONS, "/quantity");
        }
        checks.done()
    }

    /// Returns the campaign after the update; refuses a quantity below what was issued, and an end before the start.
    fn updated(&self, before: &Coupon, now: Timestamp) -> Result<Coupon, Refusal> {
        let quantity = self.quantity.unwrap_or(before.quantity);
        let (issued, valid_from) = (before.issued, before.valid_from);
        let valid_until = self.valid_until.apply(before.valid_until);
        Checks::default()
            .that(quantity >= issued, "/quantity", || {
                format!(
                    "quantity is {quantity} and {issued} coupons are claimed: give {issued} or more"
                )
            })
            .that(valid_until.is_none_or(|until| valid_from < until), "/valid_until", || {
                format!("valid_until must be after valid_from, which is {valid_from}")
            })
            .done()?;
        let stopped_at = match self.stopped {
            Some(true) => before.stopped_at.or(Some(now)),
            Some(false) => None,
            None => before.stopped_at,
        };
        let name = self.name.as_ref().unwrap_or(&before.name).clone();
        Ok(Coupon { name, quantity, valid_until, stopped_at, ..before.clone() })
    }

    fn known<'a>(&self, state: &'a State) -> Result<&'a Coupon, Refusal> {
        let coupon_id = Some(self.coupon_id);
        let unknown = || Refusal::CouponNotFound { coupon_id, owned_coupon_id: None };
        state.coupons.get(self.coupon_id).ok_or_else(unknown)
    }
}

impl Rule for UpdateCoupon {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.coupon(state, self.coupon_id);
    }

    fn version(&self, state: &State, _now: Timestamp) -> Result<Version, Refusal> {
        Ok(state.version_of(self.known(state)?))
    }

    fn action(&self) -> Option<Action> {
        Some(if self.stopped == Some(true) { Action::CouponStopped } else { Action::CouponUpdated })
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        self.validate()?;
        let before = self.known(state)?.clone();
        let after = self.updated(&before, context.now)?;

        context.record_name(state, &before.name, &after.name);
        context.record_change(state, "quantity", &before.quantity, &after.quantity);
        context.record_change(state, "valid_until", &before.valid_until, &after.valid_until);
        context.record_change(state, "stopped_at", &before.stopped_at, &after.stopped_at);
        if let Some(coupon) = state.coupons.edit(self.coupon_id) {
            coupon.clone_from(&after);
        }
        // The use is not part of the answer, which is kept with the key.
        Ok(Output::Coupon(Coupon { usage: CouponUsage::default(), ..after }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OwnedCouponId, ProductId};
    use crate::rule::claim_coupon::ClaimCoupon;
    use crate::rule::place_order::PlaceOrder;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    const SPRING: CouponId = CouponId::new(1);

    /// Campaign 1 has two coupons, of which customer 1 has claimed one, and ends after 1,000 seconds.
    fn world() -> World {
        World::default()
            .with_customer(1, 1_000)
            .with_customer(2, 0)
            .with_customer(3, 0)
            .with_product(3, 100, 9)
            .with_coupon(1, 2)
            .with_claim(1, 1)
    }

    fn claim(customer: i64) -> ClaimCoupon {
        ClaimCoupon { coupon_id: SPRING, customer_id: CustomerId::new(customer) }
    }

    fn rank(world: &mut World, customer: i64) -> i64 {
        let Ok(Output::OwnedCoupon(owned)) = world.run(claim(customer)) else { panic!("refused") };
        owned.rank
    }

    #[test]
    fn enlarged_campaign_continues_with_the_next_rank() {
        let mut world = world();
        assert_eq!(rank(&mut world, 2), 2);
        assert_eq!(code(world.refused(claim(3))), "coupon_sold_out");
        let more = UpdateCoupon { quantity: Some(3), ..UpdateCoupon::new(SPRING) };
        let Ok(Output::Coupon(coupon)) = world.run(more) else { panic!("refused") };
        assert_eq!((coupon.quantity, coupon.issued), (3, 2));
        assert_eq!(rank(&mut world, 3), 3);
    }

    #[test]
    fn stopped_campaign_refuses_claims_and_keeps_claimed_coupons_usable() {
        let mut world = world();
        world.now = NOW.plus_seconds(5);
        world.run(UpdateCoupon::stop(SPRING)).unwrap();
        world.now = NOW.plus_seconds(9);
        let Ok(Output::Coupon(again)) = world.run(UpdateCoupon::stop(SPRING)) else { panic!() };
        assert_eq!(again.stopped_at, Some(NOW.plus_seconds(5)));
        let expired =
            Refusal::CouponExpired { coupon_id: SPRING, valid_until: NOW.plus_seconds(5) };
        assert_eq!(world.refused(claim(2)), expired);
        let order = PlaceOrder {
            owned_coupon_id: Some(OwnedCouponId::new(1)),
            ..PlaceOrder::new(CustomerId::new(1), [(ProductId::new(3), 2)])
        };
        let Ok(Output::Order(order)) = world.run(order) else { panic!("refused") };
        assert_eq!(order.discount.minor(), 20);
        let resume = UpdateCoupon { stopped: Some(false), ..UpdateCoupon::new(SPRING) };
        world.run(resume).unwrap();
        assert_eq!(rank(&mut world, 2), 2);
    }

    #[test]
    fn end_of_the_window_moves_in_both_directions() {
        let mut world = world();
        let until = |valid_until| UpdateCoupon { valid_until, ..UpdateCoupon::new(SPRING) };
        world.now = NOW.plus_seconds(1_000);
        assert_eq!(code(world.refused(claim(2))), "coupon_expired");
        world.run(until(Patch::Set(NOW.plus_seconds(1_001)))).unwrap();
        assert_eq!(rank(&mut world, 2), 2);
        world.run(until(Patch::Set(NOW.plus_seconds(1)))).unwrap();
        assert_eq!(code(world.refused(claim(3))), "coupon_expired");
        world.run(until(Patch::Remove)).unwrap();
        assert_eq!(code(world.refused(claim(3))), "coupon_sold_out");
    }

    #[rstest]
    #[case::no_change(UpdateCoupon::new(SPRING), "")]
    #[case::no_name(UpdateCoupon { name: Some(String::new()), ..UpdateCoupon::new(SPRING) }, "/name")]
    #[case::zero(UpdateCoupon { quantity: Some(0), ..UpdateCoupon::new(SPRING) }, "/quantity")]
    #[case::above_limit(
        UpdateCoupon { quantity: Some(MAX_COUPONS + 1), ..UpdateCoupon::new(SPRING) },
        "/quantity"
    )]
    #[case::below_issued(UpdateCoupon { quantity: Some(1), ..UpdateCoupon::new(SPRING) }, "/quantity")]
    #[case::end_before_start(
        UpdateCoupon { valid_until: Patch::Set(NOW), ..UpdateCoupon::new(SPRING) },
        "/valid_until"
    )]
    fn update_coupon_refuses_invalid_requests(
        #[case] request: UpdateCoupon,
        #[case] pointer: &str,
    ) {
        let mut world = world();
        rank(&mut world, 2);
        let Refusal::InvalidRequest { errors } = world.refused(request) else { panic!() };
        assert_eq!(errors[0].pointer, pointer);
    }

    #[test]
    fn update_coupon_refuses_unknown_campaigns() {
        let refused = world().refused(UpdateCoupon::stop(CouponId::new(9)));
        assert_eq!(code(refused), "coupon_not_found");
    }
}
