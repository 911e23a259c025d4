//! Starting a coupon campaign.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::limits::MAX_COUPONS;
use crate::model::coupon::{Coupon, Discount};
use crate::model::idempotency::GLOBAL_SCOPE;
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Starts a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddCoupon {
    /// Its name.
    pub name: String,
    /// What it takes off.
    pub discount: Discount,
    /// The smallest subtotal it can be used on.
    pub min_order_amount: Option<Money>,
    /// How many are given out, 1 to [`MAX_COUPONS`].
    pub quantity: i64,
    /// From when it can be claimed and used; at once when absent.
    pub valid_from: Option<Timestamp>,
    /// From when it no longer can; never when absent.
    pub valid_until: Option<Timestamp>,
}

impl Rule for AddCoupon {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, _state: &State, _needs: &mut Needs) {}

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
            quantity: self.quantity,
            issued: 0,
            valid_from,
            valid_until: self.valid_until,
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

    fn sound() -> AddCoupon {
        AddCoupon {
            name: "Spring".into(),
            discount: Discount::Percent { percent: 10, max_amount: None },
            min_order_amount: None,
            quantity: 100,
            valid_from: None,
            valid_until: None,
        }
    }

    #[test]
    fn a_campaign_starts_at_once_unless_it_says_when() {
        let Ok(Output::Coupon(coupon)) = World::default().run(sound()) else { panic!() };
        assert_eq!((coupon.valid_from, coupon.issued), (NOW, 0));
    }

    fn fixed(amount: i64) -> Discount {
        Discount::Fixed { amount: Money::from_minor(amount) }
    }

    fn percent(percent: i64, most: Option<i64>) -> Discount {
        Discount::Percent { percent, max_amount: most.map(Money::from_minor) }
    }

    #[rstest]
    #[case::no_name(AddCoupon { name: String::new(), ..sound() }, "/name")]
    #[case::none(AddCoupon { quantity: 0, ..sound() }, "/quantity")]
    #[case::negative(AddCoupon { quantity: -1, ..sound() }, "/quantity")]
    #[case::nothing_off(AddCoupon { discount: fixed(0), ..sound() }, "/discount/amount")]
    #[case::no_percent(AddCoupon { discount: percent(0, None), ..sound() }, "/discount/percent")]
    #[case::over_all(AddCoupon { discount: percent(101, None), ..sound() }, "/discount/percent")]
    #[case::no_cap(AddCoupon { discount: percent(1, Some(0)), ..sound() }, "/discount/max_amount")]
    #[case::least(AddCoupon { min_order_amount: Some(Money::ZERO), ..sound() }, "/min_order_amount")]
    #[case::empty_window(AddCoupon { valid_until: Some(NOW), ..sound() }, "/valid_until")]
    fn refusals(#[case] request: AddCoupon, #[case] pointer: &str) {
        let refusal = World::default().refused(request);
        assert_eq!(code(refusal.clone()), "invalid_request");
        let Refusal::InvalidRequest { errors } = refusal else { panic!() };
        assert_eq!(errors[0].pointer, pointer);
    }
}
