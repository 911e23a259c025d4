//! The coupon report: the use of each campaign, and what it gave and brought.

use super::sealed::Build;
use super::{Facts, Source, visit};
use crate::error::Error;
use crate::id::CouponId;
use crate::money::Money;
use crate::store::{Record, Table};
use serde::Serialize;

/// Requests a coupon report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CouponReportRequest;

/// The use of all campaigns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CouponReport {
    /// The campaigns, by id.
    pub items: Vec<CampaignUse>,
}

/// The use of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CampaignUse {
    /// The campaign.
    pub coupon_id: CouponId,
    /// Its name.
    pub name: String,
    /// The number of coupons it gives out.
    pub quantity: i64,
    /// The number of coupons claimed.
    pub issued: i64,
    /// The number of coupons that a pending or paid order uses.
    pub used: i64,
    /// The number of times that an order which was cancelled or expired gave its coupon back.
    pub given_back: i64,
    /// The discounts of the paid orders that use them.
    pub discounts: Money,
    /// The amount paid for these orders.
    pub net: Money,
}

impl Build for CouponReportRequest {
    type Report = CouponReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<CouponReport, Error> {
        let mut campaigns = Vec::new();
        visit(source.snapshot, Table::Coupons, |record| {
            if let Record::Coupon(coupon) = record {
                campaigns.push(coupon);
            }
        })?;
        let mut items = Vec::new();
        for coupon in campaigns {
            let usage = facts.coupon_usage(&coupon)?;
            items.push(CampaignUse {
                coupon_id: coupon.id,
                issued: facts.issued(&coupon)?,
                name: coupon.name,
                quantity: coupon.quantity,
                used: usage.used,
                given_back: usage.given_back,
                discounts: usage.discounts,
                net: usage.net,
            });
        }
        Ok(CouponReport { items })
    }
}
