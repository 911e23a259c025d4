//! Starting a coupon campaign.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_COUPONS;
use crate::model::audit_trail::Action;
use crate::model::coupon::{BelowMinimum, Coupon, CouponUsage, Discount};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Starts a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddCoupon {
    /// The campaign's name.
    pub name: String,
    /// The discount.
    pub discount: Discount,
    /// The minimum subtotal it can be used on.
    pub min_order_amount: Option<Money>,
    /// The discount of an order that falls below the minimum when a part is cancelled.
    #[serde(skip_serializing_if = "is_kept")]
    pub below_minimum: BelowMinimum,
    /// The number of coupons to give out, 1 to [`MAX_COUPONS`].
    pub quantity: i64,
    /// Start of the window in which it can be claimed and used (inclusive); default: now.
    pub valid_from: Option<Timestamp>,
    /// End of the window (exclusive); default: no end.
    pub valid_until: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde demands")]
const fn is_kept(below_minimum: &BelowMinimum) -> bool {
    matches!(below_minimum, BelowMinimum::Keep)
}

impl AddCoupon {
    /// A campaign of `quantity` coupons that starts at once, never ends and applies to orders of any amount.
    #[must_use]
    pub fn new(name: &str, discount: Discount, quantity: i64) -> Self {
        Self {
            name: name.to_owned(),
            discount,
            min_order_amount: None,
            below_minimum: BelowMinimum::Keep,
            quantity,
            valid_from: None,
            valid_until: None,
        }
    }
}

impl Rule for AddCoupon {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn action(&self) -> Option<Action> {
        Some(Action::CouponAdded)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let valid_from = self.valid_from.unwrap_or(context.now);
        let mut checks = Checks::default();
        checks.text(&self.name, "/name").integer(self.quantity, 1..=MAX_COUPONS, "/quantity");
        match self.discount {
            Discount::Fixed { amount } => checks.amount(amount, "/discount/amount"),
            Discount::Percent { percent, max_amount } => checks
                .integer(percent, 1..=100, "/discount/percent")
                .amount(max_amount.unwrap_or(Money::from_minor(1)), "/discount/max_amount"),
        };
        checks
            .amount(self.min_order_amount.unwrap_or(Money::from_minor(1)), "/min_order_amount")
            .that(self.valid_until.is_none_or(|until| valid_from < until), "/valid_until", || {
                format!("valid_until must be after valid_from, which is {valid_from}")
            })
            .done()?;

        let id = state.next_coupon_id();
        let coupon = Coupon {
            id,
            name: self.name.clone(),
            discount: self.discount,
            min_order_amount: self.min_order_amount,
            below_minimum: self.below_minimum,
            quantity: self.quantity,
            issued: 0,
            valid_from,
            valid_until: self.valid_until,
            stopped_at: None,
            usage: CouponUsage::default(),
        };
        state.coupons.insert(id, coupon.clone());
        Ok(Output::Coupon(coupon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn valid() -> AddCoupon {
        AddCoupon {
            below_minimum: BelowMinimum::Keep,
            name: "Spring".into(),
            discount: Discount::Percent { percent: 10, max_amount: None },
            min_order_amount: None,
            quantity: 100,
            valid_from: None,
            valid_until: None,
        }
    }

    #[test]
    fn add_coupon_without_start_is_valid_from_now() {
        let Ok(Output::Coupon(coupon)) = World::default().run(valid()) else { panic!() };
        assert_eq!((coupon.valid_from, coupon.issued), (NOW, 0));
    }

    fn fixed(amount: i64) -> Discount {
        Discount::Fixed { amount: Money::from_minor(amount) }
    }

    fn percent(percent: i64, cap: Option<i64>) -> Discount {
        Discount::Percent { percent, max_amount: cap.map(Money::from_minor) }
    }

    #[rstest]
    #[case::no_name(AddCoupon { name: String::new(), ..valid() }, "/name")]
    #[case::zero_quantity(AddCoupon { quantity: 0, ..valid() }, "/quantity")]
    #[case::negative_quantity(AddCoupon { quantity: -1, ..valid() }, "/quantity")]
    #[case::zero_amount(AddCoupon { discount: fixed(0), ..valid() }, "/discount/amount")]
    #[case::zero_percent(AddCoupon { discount: percent(0, None), ..valid() }, "/discount/percent")]
    #[case::above_100_percent(AddCoupon { discount: percent(101, None), ..valid() }, "/discount/percent")]
    #[case::zero_cap(AddCoupon { discount: percent(1, Some(0)), ..valid() }, "/discount/max_amount")]
    #[case::zero_minimum(AddCoupon { min_order_amount: Some(Money::ZERO), ..valid() }, "/min_order_amount")]
    #[case::empty_window(AddCoupon { valid_until: Some(NOW), ..valid() }, "/valid_until")]
    fn add_coupon_refuses_invalid_requests(#[case] request: AddCoupon, #[case] pointer: &str) {
        let refusal = World::default().refused(request);
        assert_eq!(code(refusal.clone()), "invalid_request");
        let Refusal::InvalidRequest { errors } = refusal else { panic!() };
        assert_eq!(errors[0].pointer, pointer);
    }
}
