//! `commerce coupon`: coupon campaigns, and the coupons that customers claimed.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, or_dash, properties};
use crate::values::{self, Edge, KeyArg, PageArgs};
use clap::ArgGroup;
use commerce_core::{
    AddCoupon, BelowMinimum, ClaimCoupon, CouponId, CustomerId, Discount, Money, OwnedCoupon,
    OwnedCouponStatus, Patch, UpdateCoupon,
};

/// Creates coupon campaigns, claims their coupons and lists them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum CouponCommand {
    /// Creates a campaign.
    Add(CampaignArgs),
    /// Lists the campaigns by id.
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Shows one campaign.
    Show {
        /// The campaign's id.
        #[arg(value_parser = values::id::<CouponId>)]
        id: CouponId,
    },
    /// Changes a campaign's name, quantity or end. Claimed coupons and their ranks stay.
    Update {
        /// The campaign's id.
        #[arg(value_parser = values::id::<CouponId>)]
        id: CouponId,
        /// New name.
        #[arg(long)]
        name: Option<String>,
        /// New number of coupons, at least those claimed.
        #[arg(long, value_name = "N", value_parser = values::integer, allow_negative_numbers = true)]
        quantity: Option<i64>,
        /// New end of the campaign, exclusive, or `none`. A day means its start.
        #[arg(long, value_name = "TIME", value_parser = values::edge_patch)]
        until: Option<Patch<Edge>>,
    },
    /// Stops a campaign: no more coupons are claimed. Claimed ones stay usable until its end.
    Stop {
        /// The campaign's id.
        #[arg(value_parser = values::id::<CouponId>)]
        id: CouponId,
        /// Resumes the campaign.
        #[arg(long)]
        undo: bool,
    },
    /// Claims a coupon for a customer: first come, first served, one a customer.
    Claim {
        /// The campaign's id.
        #[arg(value_parser = values::id::<CouponId>)]
        coupon: CouponId,
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Lists the claims of a campaign by rank.
    Claims {
        /// The campaign's id.
        #[arg(value_parser = values::id::<CouponId>)]
        coupon: CouponId,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Lists the coupons a customer has claimed.
    Owned {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("discount").required(true)))]
pub(crate) struct CampaignArgs {
    /// The campaign's name.
    name: String,
    /// Number of coupons.
    #[arg(long, value_name = "N", value_parser = values::integer, allow_negative_numbers = true)]
    quantity: i64,
    /// Discount in minor units.
    #[arg(long, group = "discount", value_parser = values::amount, allow_negative_numbers = true)]
    amount: Option<Money>,
    /// Discount in percent, 1 to 100.
    #[arg(long, group = "discount", value_parser = values::integer, allow_negative_numbers = true)]
    percent: Option<i64>,
    /// With --percent: the maximum discount in minor units.
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount, allow_negative_numbers = true)]
    #[arg(conflicts_with = "amount")]
    max: Option<Money>,
    /// Minimum order amount before the discount, in minor units.
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount, allow_negative_numbers = true)]
    min_order: Option<Money>,
    /// Discount of an order that falls below the minimum when a part is cancelled: the units that are left keep their
    /// shares of it, or lose them, and the refund is less by these.
    #[arg(long, value_name = "RULE", default_value = BelowMinimum::Keep.as_str())]
    #[arg(value_parser = values::words(BelowMinimum::ALL, BelowMinimum::as_str))]
    below_minimum: BelowMinimum,
    /// Start of the campaign, a time or a day of the zone of the shop (default: now).
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    from: Option<Edge>,
    /// End of the campaign, exclusive (default: none). A day means its start.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    until: Option<Edge>,
    #[command(flatten)]
    key: KeyArg,
}

impl CampaignArgs {
    fn request(&self, context: &CommandContext) -> Result<AddCoupon, CliError> {
        let percent = |percent| Discount::Percent { percent, max_amount: self.max };
        let fixed = Discount::Fixed { amount: self.amount.unwrap_or_default() };
        Ok(AddCoupon {
            name: self.name.clone(),
            discount: self.percent.map_or(fixed, percent),
            min_order_amount: self.min_order,
            below_minimum: self.below_minimum,
            quantity: self.quantity,
            valid_from: context.instant(self.from.as_ref(), Edge::start)?,
            valid_until: context.instant(self.until.as_ref(), Edge::start)?,
        })
    }
}

impl CouponCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let text = |coupon: &_| coupon_properties(context, coupon);
        match self {
            Self::Add(add) => context.print(context.call(add.request(context)?, &add.key)?, text),
            Self::Show { id } => context.print(context.shop.coupon(id)?, text),
            Self::Update { id, name, quantity, until } => {
                let valid_until = context.instant_patch(until.as_ref())?;
                let update = UpdateCoupon { name, quantity, valid_until, ..UpdateCoupon::new(id) };
                context.print(context.shop.call(update).run()?, text)
            }
            Self::Stop { id, undo } => {
                let update = UpdateCoupon { stopped: Some(!undo), ..UpdateCoupon::new(id) };
                context.print(context.shop.call(update).run()?, text)
            }
            Self::List { page } => context.list_priced(
                &page,
                |page| context.shop.coupons(page),
                |rows| coupons(context, rows),
            ),
            Self::Claims { coupon, page } => {
                context.list(&page, |page| context.shop.claims(coupon, page), claims)
            }
            Self::Claim { coupon, customer, key } => {
                let request = ClaimCoupon { coupon_id: coupon, customer_id: customer };
                context.output.print(&context.call(request, &key)?, claimed)
            }
            Self::Owned { customer, page } => {
                context.list(&page, |page| context.shop.owned_coupons(customer, page), owned)
            }
        }
    }
}

fn discount(context: &CommandContext, discount: Discount) -> String {
    match discount {
        Discount::Fixed { amount } => context.money(amount),
        Discount::Percent { percent, max_amount: None } => format!("{percent} %"),
        Discount::Percent { percent, max_amount: Some(max) } => {
            format!("{percent} %, at most {}", context.money(max))
        }
    }
}

fn coupons(context: &CommandContext, coupons: &[commerce_core::Coupon]) -> String {
    let headers = [">id", "~name", "discount", ">claimed", ">of", "from", "until", "stopped"];
    TextTable::new(headers, "no campaigns")
        .rows(coupons, |coupon| {
            [
                coupon.id.to_string(),
                coupon.name.clone(),
                discount(context, coupon.discount),
                coupon.issued.to_string(),
                coupon.quantity.to_string(),
                coupon.valid_from.to_string(),
                or_dash(coupon.valid_until),
                or_dash(coupon.stopped_at),
            ]
        })
        .hide_if(7, coupons.iter().all(|coupon| coupon.stopped_at.is_none()))
        .text()
}

fn coupon_properties(context: &CommandContext, coupon: &commerce_core::Coupon) -> String {
    let minimum = coupon.min_order_amount.map(|min| {
        let min = context.money(min);
        match coupon.below_minimum {
            BelowMinimum::Keep => min,
            BelowMinimum::Recalculate => format!("{min}, below it no discount is left"),
        }
    });
    properties([
        ("coupon", coupon.id.to_string()),
        ("name", coupon.name.clone()),
        ("discount", discount(context, coupon.discount)),
        ("minimum order", or_dash(minimum)),
        ("claimed", format!("{} of {}", coupon.issued, coupon.quantity)),
        ("from", coupon.valid_from.to_string()),
        ("until", or_dash(coupon.valid_until)),
        ("stopped", or_dash(coupon.stopped_at)),
    ])
}

fn claimed(owned: &OwnedCoupon) -> String {
    let OwnedCoupon { id, coupon_id, customer_id, rank, .. } = owned;
    format!(
        "customer {customer_id} claimed coupon {coupon_id} at rank {rank}: order with --coupon {id}"
    )
}

fn claims(claims: &[OwnedCoupon]) -> String {
    let headers = [">rank", ">customer", "claimed", "status", "order", ">owned coupon"];
    TextTable::new(headers, "no claims")
        .rows(claims, |owned| {
            [
                owned.rank.to_string(),
                owned.customer_id.to_string(),
                owned.claimed_at.to_string(),
                owned.status.to_string(),
                or_dash(owned.order_id),
                owned.id.to_string(),
            ]
        })
        .text()
}

fn owned(coupons: &[OwnedCoupon]) -> String {
    let headers = [">id", ">coupon", ">rank", "status", ">order", "claimed"];
    TextTable::new(headers, "this customer has no coupons")
        .rows(coupons, |owned| {
            let status = match owned.status {
                OwnedCouponStatus::Held => "held",
                OwnedCouponStatus::Used => "used",
                OwnedCouponStatus::Expired => "expired",
            };
            [
                owned.id.to_string(),
                owned.coupon_id.to_string(),
                owned.rank.to_string(),
                status.to_owned(),
                or_dash(owned.order_id),
                owned.claimed_at.to_string(),
            ]
        })
        .text()
}
