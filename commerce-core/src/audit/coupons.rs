//! Coupons: no campaign issued more than it has, each customer has at most one of it, an owned coupon and the order
//! that uses it name each other, and each campaign's use is that of the orders.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::id::{CouponId, CustomerId, OrderId, OwnedCouponId};
use crate::model::coupon::{Coupon, CouponUsage, OwnedCoupon};
use crate::model::order::Order;
use crate::store::Record;

const CHECK: &str = "coupons";

#[derive(Default)]
pub(super) struct Coupons {
    customers: ById<CustomerId, ()>,
    campaigns: ById<CouponId, Campaign>,
    claims: ById<OwnedCouponId, Claim>,
}

struct Campaign {
    quantity: i64,
    issued: i64,
    owned: i64,
    usage: CouponUsage,
    counted: CouponUsage,
}

struct Claim {
    coupon_id: CouponId,
    customer_id: CustomerId,
    rank: i64,
    order_id: Option<OrderId>,
    /// The live order that it names exists and names it.
    is_confirmed: bool,
}

impl Check for Coupons {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.customers.push(account.customer.id, ()),
            Record::Coupon(coupon) => self.campaigns.push(coupon.id, Campaign::of(coupon)),
            Record::OwnedCoupon(owned) => self.owned(owned, problems),
            Record::Order(order) => {
                self.count(order);
                if order.is_live() {
                    self.order(order, problems);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, campaign) in self.campaigns.iter() {
            campaign.finish(&mut |detail| problems.add(CHECK, format!("coupon {id}"), detail));
        }
        self.check_ranks(problems);
        self.check_owners(problems);
        for (id, claim) in self.claims.iter().filter(|(_, claim)| !claim.is_confirmed) {
            if let Some(order_id) = claim.order_id {
                let detail = format!("names order {order_id}, and no such live order uses it");
                problems.add(CHECK, subject(id), detail);
            }
        }
    }
}

fn subject(id: OwnedCouponId) -> String {
    format!("owned coupon {id}")
}

impl Coupons {
    fn owned(&mut self, owned: &OwnedCoupon, problems: &mut Problems) {
        let OwnedCoupon { id, coupon_id, customer_id, rank, order_id, .. } = *owned;
        let mut report = |detail| problems.add(CHECK, subject(id), detail);
        match self.campaigns.get_mut(coupon_id) {
            Some(campaign) => campaign.owned = campaign.owned.saturating_add(1),
            None => report(format!("coupon {coupon_id} does not exist")),
        }
        if !self.customers.has(customer_id) {
            report(format!("customer {customer_id} does not exist"));
        }
        self.claims.push(id, Claim { coupon_id, customer_id, rank, order_id, is_confirmed: false });
    }

    fn count(&mut self, order: &Order) {
        let claim = order.owned_coupon_id.and_then(|id| self.claims.get(id));
        if let Some(campaign) = claim.and_then(|claim| self.campaigns.get_mut(claim.coupon_id)) {
            campaign.counted.add(order);
        }
    }

    fn order(&mut self, order: &Order, problems: &mut Problems) {
        let Some(id) = order.owned_coupon_id else { return };
        let mut report = |detail| problems.add(CHECK, format!("order {}", order.id), detail);
        let Some(claim) = self.claims.get_mut(id) else {
            return report(format!("uses owned coupon {id}, which does not exist"));
        };
        if claim.customer_id != order.customer_id {
            let (owner, customer) = (claim.customer_id, order.customer_id);
            report(format!(
                "is of customer {customer} and uses owned coupon {id} of customer {owner}"
            ));
        }
        if claim.order_id == Some(order.id) {
            claim.is_confirmed = true;
        } else {
            let other = or_none(claim.order_id);
            report(format!("uses owned coupon {id}, which names order {other}"));
        }
    }

    /// Checks that the ranks of a campaign run from 1 to the number of its claims. A rank outside of that range, or one
    /// that two rows have, is a wrong row; a missing rank is a row that the campaign lacks.
    fn check_ranks(&self, problems: &mut Problems) {
        let claims = self.claims.iter();
        let mut ranks: Vec<_> =
            claims.map(|(id, claim)| (claim.coupon_id, claim.rank, id)).collect();
        ranks.sort_unstable();
        for ranks in ranks.chunk_by(|one, next| one.0 == next.0) {
            let Some((coupon_id, ..)) = ranks.first().copied() else { continue };
            let most = self.campaigns.get(coupon_id).map_or(0, Campaign::max_rank);
            let mut last = 0;
            for &(_, rank, id) in ranks {
                if !(1..=most).contains(&rank) {
                    problems.add(CHECK, subject(id), format!("has rank {rank} of {most}"));
                } else if rank == last {
                    let detail =
                        format!("has rank {rank} of coupon {coupon_id}, which another has");
                    problems.add(CHECK, subject(id), detail);
                } else {
                    report_missing_ranks(coupon_id, last, rank, problems);
                    last = rank;
                }
            }
        }
    }

    fn check_owners(&self, problems: &mut Problems) {
        let claims = self.claims.iter();
        let mut owners: Vec<_> =
            claims.map(|(id, claim)| (claim.coupon_id, claim.customer_id, id)).collect();
        owners.sort_unstable();
        for pair in owners.windows(2) {
            if let [(coupon, customer, first), (other_coupon, other_customer, id)] = pair
                && (coupon, customer) == (other_coupon, other_customer)
            {
                let detail = format!("customer {customer} has coupon {coupon} already, as {first}");
                problems.add(CHECK, subject(*id), detail);
            }
        }
    }
}

fn report_missing_ranks(coupon_id: CouponId, last: i64, rank: i64, problems: &mut Problems) {
    let (from, to) = (last.saturating_add(1), rank.saturating_sub(1));
    if from <= to {
        let detail = format!("the ranks from {from} to {to} are missing");
        problems.add(CHECK, format!("coupon {coupon_id}"), detail);
    }
}

impl Campaign {
    fn of(coupon: &Coupon) -> Self {
        let Coupon { quantity, issued, usage, .. } = *coupon;
        Self { quantity, issued, owned: 0, usage, counted: CouponUsage::default() }
    }

    /// The highest possible rank. If the two counts differ, the one that reports fewer rows.
    fn max_rank(&self) -> i64 {
        self.issued.max(self.owned)
    }

    fn finish(&self, report: &mut dyn FnMut(String)) {
        let Self { quantity, issued, owned, usage, counted } = *self;
        if issued != owned {
            report(format!("issued is {issued}, and customers own {owned}"));
        }
        if self.max_rank() > quantity {
            report(format!("{} of {quantity} were claimed", self.max_rank()));
        }
        let uses = [
            ("used", usage.used, counted.used),
            ("given back", usage.given_back, counted.given_back),
            ("the sum of discounts", usage.discounts.minor(), counted.discounts.minor()),
            ("the sum of payments", usage.net.minor(), counted.net.minor()),
        ];
        for (name, counted, expected) in uses.into_iter().filter(|(_, one, other)| one != other) {
            report(format!("{name} is {counted}, and the orders give {expected}"));
        }
    }
}
