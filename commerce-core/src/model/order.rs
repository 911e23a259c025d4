//! Orders: lines with the names and prices at the time of the order, and the order's status.

use crate::clock::Timestamp;
use crate::id::{CustomerId, EventId, OrderId, OwnedCouponId, ProductId};
use crate::model::words::{row_codes, words};
use crate::money::Money;
use serde::{Deserialize, Serialize, Serializer};
use std::cmp::Reverse;

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Unpaid: stock and coupon are held until it is paid, cancelled or expires.
    Pending,
    /// Paid.
    Paid,
    /// Cancelled: stock, coupon and money were given back.
    Cancelled,
    /// Not paid in time: stock and coupon were given back.
    Expired,
}

words! {
    OrderStatus {
        Pending = "pending",
        Paid = "paid",
        Cancelled = "cancelled",
        Expired = "expired",
    }
}

row_codes! {
    OrderStatus {
        Paid = 0,
        Cancelled = 1,
        Expired = 2,
        Pending = 3,
    }
}

impl OrderStatus {
    /// Returns true if an order with this status never changes again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }

    /// Returns true if the units of an order with this status count as sold (best sellers).
    #[must_use]
    pub const fn counts_as_sold(self) -> bool {
        match self {
            Self::Paid => true,
            Self::Pending | Self::Cancelled | Self::Expired => false,
        }
    }
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// The product's name at the time of the order.
    pub name: String,
    /// The price of one unit at the time of the order.
    pub unit_price: Money,
    /// The price of one unit without a sale, at the time of the order.
    pub regular_price: Money,
    /// Units ordered.
    pub quantity: i64,
    /// Price times quantity.
    pub amount: Money,
}

impl OrderLine {
    /// Returns the regular price if a sale reduced it.
    #[must_use]
    pub fn reduced_from(&self) -> Option<Money> {
        Some(self.regular_price).filter(|price| *price != self.unit_price)
    }
}

/// Units of a line that were cancelled before the rest of the order, and the money that was taken off for them.
///
/// An order that is cancelled as a whole has no such rows for the units that were left: they follow from its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineCancellation {
    /// The order.
    pub order_id: OrderId,
    /// Its customer.
    pub customer_id: CustomerId,
    /// The number within the order: 1, 2, 3.
    pub number: i64,
    /// The product of the line.
    pub product_id: ProductId,
    /// The units; 0 for money that earlier cancellations of the line kept back.
    pub units: i64,
    /// The money: paid back, or no longer due if the order was not paid yet.
    pub amount: Money,
    /// True if the units went back to the stock.
    pub is_restocked: bool,
    /// The event that reports it; `None` if the order was not paid yet.
    pub event_id: Option<EventId>,
    /// The instant.
    pub created_at: Timestamp,
    /// The units of the line that were cancelled so far, these included.
    pub line_units: i64,
    /// The money that was taken off the line so far, this included.
    pub line_amount: Money,
    /// The units of the line; a constraint compares them with `line_units`.
    pub quantity: i64,
    /// The price of the line after its share of the discount; a constraint compares it with `line_amount`.
    pub net: Money,
}

/// The position of a cancellation of a part among those of all orders: its instant, order and number.
pub type PartPosition = (Timestamp, OrderId, i64);

impl LineCancellation {
    /// Returns the position among the cancellations of all orders.
    #[must_use]
    pub const fn position(&self) -> PartPosition {
        (self.created_at, self.order_id, self.number)
    }

    /// Returns true if units went back to the stock.
    #[must_use]
    pub const fn is_restock(&self) -> bool {
        self.is_restocked && self.units > 0
    }
}

/// A line of an order, with the units and the money that its cancellations left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder<'a> {
    /// The line.
    pub line: &'a OrderLine,
    /// The price of the whole line after its share of the discount.
    pub line_net: Money,
    /// The units.
    pub units: i64,
    /// The money.
    pub net: Money,
}

impl Remainder<'_> {
    /// Returns the shares of the price that the last `units` of the line have.
    #[must_use]
    pub fn share_of(&self, units: i64) -> Money {
        let first = self.line.quantity.saturating_sub(units);
        let gone = share_of_units(self.line_net, self.line.quantity, first);
        Money::from_minor(self.line_net.minor().saturating_sub(gone.minor()))
    }

    /// Returns the price of the units before the discount.
    #[must_use]
    pub fn gross(&self) -> Money {
        self.line.unit_price.checked_mul(self.units).unwrap_or(self.line.amount)
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The order's id.
    pub id: OrderId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The caller's own order number.
    pub reference: Option<String>,
    /// The status.
    pub status: OrderStatus,
    /// The lines, one per product.
    pub lines: Vec<OrderLine>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// The coupon's discount.
    pub discount: Money,
    /// The amount to pay: subtotal minus discount.
    pub total: Money,
    /// The coupon that was used.
    pub owned_coupon_id: Option<OwnedCouponId>,
    /// The instant it was placed.
    pub created_at: Timestamp,
    /// End of the hold: the order must be paid before; `None` if it was paid at once.
    pub expires_at: Option<Timestamp>,
    /// The instant it was paid.
    pub paid_at: Option<Timestamp>,
    /// The instant it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// The customer's order before this one.
    pub previous: Option<OrderId>,
    /// The cancellations of parts, by number.
    pub cancellations: Vec<LineCancellation>,
}

impl Order {
    /// Returns the order as it was with `status` and that number of cancellations of parts. An order changes only by
    /// these, so a replayed call or an event shows exactly the original order. With a final status it has all of them.
    #[must_use]
    pub fn as_of(&self, status: OrderStatus, cancellations: usize) -> Self {
        let number = if status.is_final() { usize::MAX } else { cancellations };
        let cancellations = self.cancellations.iter().take(number).cloned().collect();
        let (paid_at, cancelled_at) = match status {
            OrderStatus::Pending => (None, None),
            OrderStatus::Paid => (self.paid_at, None),
            OrderStatus::Cancelled | OrderStatus::Expired => (self.paid_at, self.cancelled_at),
        };
        Self { status, paid_at, cancelled_at, cancellations, ..self.clone() }
    }

    /// Returns the order as of `now`: an overdue order is expired, whether or not the sweep has released it.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        if self.is_due_at(now) {
            self.status = OrderStatus::Expired;
        }
        self
    }

    /// Returns true if the order is pending and its hold has ended at `now`.
    #[must_use]
    pub fn is_due_at(&self, now: Timestamp) -> bool {
        self.status == OrderStatus::Pending && self.expires_at.is_some_and(|at| now >= at)
    }

    /// Returns the instant it was paid, whether or not it was cancelled since.
    #[must_use]
    pub fn sold_at(&self) -> Option<Timestamp> {
        match self.status {
            OrderStatus::Paid | OrderStatus::Cancelled => self.paid_at,
            OrderStatus::Pending | OrderStatus::Expired => None,
        }
    }

    /// Returns the instant at which it gave its stock back: it was cancelled, or its hold ended.
    #[must_use]
    pub fn released_at(&self) -> Option<Timestamp> {
        if self.status.is_final() { self.cancelled_at.or(self.expires_at) } else { None }
    }

    /// Returns the number of units of all lines.
    #[must_use]
    pub fn units(&self) -> i64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.quantity))
    }

    /// Returns the units of a product that were cancelled.
    #[must_use]
    pub fn cancelled_units(&self, product: ProductId) -> i64 {
        match self.lines.iter().find(|line| line.product_id == product) {
            Some(line) if !self.is_live() => line.quantity,
            _ => self.units_of_cancellations(product, |_| true),
        }
    }

    /// Returns the units of a product that the order keeps from the stock: those that it holds or has used, and cancelled
    /// ones that did not go back.
    #[must_use]
    pub fn units_out(&self, line: &OrderLine) -> i64 {
        if self.is_live() {
            let restocked = self.units_of_cancellations(line.product_id, |row| row.is_restocked);
            return line.quantity.saturating_sub(restocked);
        }
        self.units_of_cancellations(line.product_id, |row| !row.is_restocked)
    }

    fn units_of_cancellations(
        &self,
        product: ProductId,
        is_counted: impl Fn(&LineCancellation) -> bool,
    ) -> i64 {
        let rows = self.cancellations.iter().filter(|row| row.product_id == product);
        rows.filter(|row| is_counted(row)).fold(0, |sum, row| sum.saturating_add(row.units))
    }

    /// Returns the amount that was paid; zero for an order that was not.
    #[must_use]
    pub fn paid(&self) -> Money {
        self.paid_at.map_or(Money::ZERO, |_| self.total_at_payment())
    }

    /// Returns the amount that is still to be paid; zero unless the order is pending.
    #[must_use]
    pub fn due(&self) -> Money {
        if self.status == OrderStatus::Pending { self.total_at_payment() } else { Money::ZERO }
    }

    /// Returns the amount that was paid back.
    #[must_use]
    pub fn refunded(&self) -> Money {
        if self.status == OrderStatus::Cancelled {
            return self.paid();
        }
        sum_of_amounts(self.cancellations.iter().filter(|row| row.event_id.is_some()))
    }

    /// Returns the refunds in order: the money that went back by each event, and its instant.
    #[must_use]
    pub fn refunds(&self) -> Vec<(Money, Timestamp)> {
        let mut refunds = Vec::new();
        for rows in self.cancellations.chunk_by(|one, next| one.event_id == next.event_id) {
            let event = rows.first().filter(|row| row.event_id.is_some());
            refunds.extend(event.map(|row| (sum_of_amounts(rows.iter()), row.created_at)));
        }
        let left = self.remainders();
        let cancelled_at = self.paid_at.and(self.cancelled_at);
        // The last units were cancelled as a whole, unless rows have them.
        if let Some(at) = cancelled_at.filter(|_| left.iter().any(|left| left.units > 0)) {
            refunds.push((Money::sum(left.iter().map(|left| left.net)), at));
        }
        refunds
    }

    fn total_at_payment(&self) -> Money {
        let unpaid = self.cancellations.iter().filter(|row| row.event_id.is_none());
        Money::from_minor(self.total.minor().saturating_sub(sum_of_amounts(unpaid).minor()))
    }

    /// Returns the lines with what all cancellations of parts left of each. Of an order that is cancelled, this is what
    /// its cancellation as a whole took.
    #[must_use]
    pub fn remainders(&self) -> Vec<Remainder<'_>> {
        self.remainders_of(|_| true)
    }

    /// Returns the lines with what was left of each when the order was paid.
    #[must_use]
    pub fn paid_lines(&self) -> Vec<Remainder<'_>> {
        self.remainders_of(|row| row.event_id.is_none())
    }

    fn remainders_of(&self, is_counted: fn(&LineCancellation) -> bool) -> Vec<Remainder<'_>> {
        let lines = self.lines.iter().zip(self.line_nets());
        let whole = |(line, net): (_, Money)| {
            let line: &OrderLine = line;
            Remainder { line, line_net: net, units: line.quantity, net }
        };
        let whole = lines.map(whole);
        let mut remainders: Vec<_> = whole.collect();
        for row in self.cancellations.iter().filter(|row| is_counted(row)) {
            let of_line = |of: &&mut Remainder<'_>| of.line.product_id == row.product_id;
            if let Some(of) = remainders.iter_mut().find(of_line) {
                of.units = of.units.saturating_sub(row.units);
                let net = of.net.minor().saturating_sub(row.amount.minor());
                of.net = Money::from_minor(net);
            }
        }
        remainders
    }

    /// Returns what was paid for each line: its amount less its share of the discount. The shares are in proportion to
    /// the amounts, rounded down; the minor units that are left go one each to the lines with the largest remainders,
    /// the first ones among equals (largest remainder method). They add up to the discount.
    #[must_use]
    pub fn line_nets(&self) -> Vec<Money> {
        if self.discount == Money::ZERO {
            return self.lines.iter().map(|line| line.amount).collect();
        }
        let amounts = || self.lines.iter().map(|line| i128::from(line.amount.minor()));
        let whole = amounts().sum::<i128>().max(1);
        let mut rest = i128::from(self.discount.minor());
        let mut remainders = Vec::with_capacity(self.lines.len());
        let mut nets = Vec::with_capacity(self.lines.len());
        for (position, amount) in amounts().enumerate() {
            let exact = amount.saturating_mul(i128::from(self.discount.minor()));
            let (share, remainder) = (exact.div_euclid(whole), exact.rem_euclid(whole));
            rest = rest.saturating_sub(share);
            remainders.push((Reverse(remainder), position));
            nets.push(amount.saturating_sub(share));
        }
        remainders.sort_unstable();
        for (_, position) in remainders.into_iter().take(usize::try_from(rest).unwrap_or(0)) {
            if let Some(net) = nets.get_mut(position) {
                *net = net.saturating_sub(1);
            }
        }
        let money = |net: i128| Money::from_minor(i64::try_from(net).unwrap_or(i64::MAX));
        nets.into_iter().map(money).collect()
    }

    /// Returns true if the order holds or has used its stock and coupon.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.status.is_final()
    }
}

/// Returns the part of the price of a line that `units` of its units have: the minor units that are left after an even
/// split go one each to the first units.
///
/// ```
/// use commerce_core::{Money, share_of_units};
/// let shares = (0..=3).map(|units| share_of_units(Money::from_minor(200), 3, units).minor());
/// assert_eq!(shares.collect::<Vec<_>>(), [0, 67, 134, 200]);
/// ```
#[must_use]
pub fn share_of_units(net: Money, quantity: i64, units: i64) -> Money {
    let (net, quantity) = (i128::from(net.minor()), i128::from(quantity.max(1)));
    let units = i128::from(units).clamp(0, quantity);
    let even = net.div_euclid(quantity).saturating_mul(units);
    let share = even.saturating_add(net.rem_euclid(quantity).min(units));
    Money::from_minor(i64::try_from(share).unwrap_or(i64::MAX))
}

/// Returns the sum of the amounts.
fn sum_of_amounts<'a>(rows: impl Iterator<Item = &'a LineCancellation>) -> Money {
    Money::from_minor(rows.fold(0, |sum: i64, row| sum.saturating_add(row.amount.minor())))
}

/// The body of an order, with the members that follow from its cancellations.
impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            product_id: ProductId,
            name: &'a str,
            unit_price: Money,
            regular_price: Money,
            quantity: i64,
            cancelled_quantity: i64,
            amount: Money,
        }

        #[derive(Serialize)]
        struct Body<'a> {
            id: OrderId,
            customer_id: CustomerId,
            reference: Option<&'a str>,
            status: OrderStatus,
            lines: Vec<Line<'a>>,
            subtotal: Money,
            discount: Money,
            total: Money,
            due: Money,
            refunded: Money,
            owned_coupon_id: Option<OwnedCouponId>,
            created_at: Timestamp,
            expires_at: Option<Timestamp>,
            paid_at: Option<Timestamp>,
            cancelled_at: Option<Timestamp>,
        }

        let lines = self.lines.iter().map(|line| {
            let OrderLine { product_id, ref name, unit_price, regular_price, quantity, amount } =
                *line;
            let cancelled_quantity = self.cancelled_units(product_id);
            Line {
                product_id,
                name,
                unit_price,
                regular_price,
                quantity,
                cancelled_quantity,
                amount,
            }
        });
        let body = Body {
            id: self.id,
            customer_id: self.customer_id,
            reference: self.reference.as_deref(),
            status: self.status,
            lines: lines.collect(),
            subtotal: self.subtotal,
            discount: self.discount,
            total: self.total,
            due: self.due(),
            refunded: self.refunded(),
            owned_coupon_id: self.owned_coupon_id,
            created_at: self.created_at,
            expires_at: self.expires_at,
            paid_at: self.paid_at,
            cancelled_at: self.cancelled_at,
        };
        body.serialize(serializer)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn order(amounts: &[i64], discount: i64) -> Order {
        let line = |amount: &i64| OrderLine {
            product_id: ProductId::new(1),
            name: String::new(),
            unit_price: Money::from_minor(*amount),
            regular_price: Money::from_minor(*amount),
            quantity: 1,
            amount: Money::from_minor(*amount),
        };
        let subtotal: i64 = amounts.iter().sum();
        Order {
            id: OrderId::new(1),
            customer_id: CustomerId::new(1),
            reference: None,
            status: OrderStatus::Paid,
            lines: amounts.iter().map(line).collect(),
            subtotal: Money::from_minor(subtotal),
            discount: Money::from_minor(discount),
            total: Money::from_minor(subtotal - discount),
            owned_coupon_id: None,
            created_at: Timestamp::MIN,
            expires_at: None,
            paid_at: None,
            cancelled_at: None,
            previous: None,
            cancellations: Vec::new(),
        }
    }

    fn nets(amounts: &[i64], discount: i64) -> Vec<i64> {
        order(amounts, discount).line_nets().into_iter().map(Money::minor).collect()
    }

    #[rstest]
    #[case::none(&[300, 200], 0, &[300, 200])]
    #[case::proportional(&[300, 200], 50, &[270, 180])]
    #[case::largest_remainder(&[100, 100, 101], 100, &[67, 67, 67])]
    #[case::ties_by_position(&[100, 100, 100], 100, &[66, 67, 67])]
    #[case::all_of_it(&[7, 11, 13], 31, &[0, 0, 0])]
    #[case::one_unit(&[1, 1, 1], 1, &[0, 1, 1])]
    fn discount_is_shared_by_the_largest_remainders(
        #[case] amounts: &[i64],
        #[case] discount: i64,
        #[case] expected: &[i64],
    ) {
        assert_eq!(nets(amounts, discount), expected);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_within_a_unit_of_their_proportion(
            amounts in prop::collection::vec(1_i64..9_000_000_000_000, 1..20),
            part in 0_i64..=1_000_000,
        ) {
            let subtotal: i64 = amounts.iter().sum();
            let discount = i64::try_from(i128::from(subtotal) * i128::from(part) / 1_000_000).unwrap();
            let nets = nets(&amounts, discount);
            prop_assert_eq!(nets.iter().sum::<i64>(), subtotal - discount);
            for (amount, net) in amounts.iter().zip(nets) {
                prop_assert!((0..=*amount).contains(&net));
                let exact = i128::from(*amount) * i128::from(discount);
                let difference = i128::from(amount - net) * i128::from(subtotal) - exact;
                prop_assert!(difference.abs() < i128::from(subtotal), "more than a unit off");
            }
        }

        /// The shares of the units add up to the price of the line in any split, and are within a minor unit of each
        /// other.
        #[test]
        fn any_split_of_a_line_adds_up(
            net in 0_i64..9_000_000_000_000,
            quantity in 1_i64..2_000,
            splits in prop::collection::vec(1_i64..300, 1..30),
        ) {
            let share = |units| share_of_units(Money::from_minor(net), quantity, units).minor();
            prop_assert_eq!((share(0), share(quantity)), (0, net));
            prop_assert_eq!((share(-1), share(quantity + 1)), (0, net));
            let (mut gone, mut back) = (0, 0);
            for units in splits.into_iter().chain([quantity]) {
                let units = units.min(quantity - gone);
                let part = share(gone + units) - share(gone);
                let exact = i128::from(net) * i128::from(units);
                let difference = i128::from(part) * i128::from(quantity) - exact;
                prop_assert!(difference.abs() < i128::from(quantity) * i128::from(units.max(1)));
                prop_assert!(part >= 0);
                (gone, back) = (gone + units, back + part);
            }
            prop_assert_eq!((gone, back), (quantity, net));
        }
    }

    /// A paid order of two lines, of which parts were cancelled before and after the payment.
    pub(crate) fn cancelled_in_parts() -> Order {
        let mut order = order(&[300, 60], 36);
        for (line, (id, quantity, price)) in order.lines.iter_mut().zip([(3, 3, 100), (4, 2, 30)]) {
            (line.product_id, line.quantity) = (ProductId::new(id), quantity);
            line.unit_price = Money::from_minor(price);
        }
        let at = |seconds| Timestamp::from_unix(1_000 + seconds);
        order.paid_at = Some(at(20));
        let row =
            |number, (id, quantity, net), units, amount, event: Option<i64>| LineCancellation {
                order_id: order.id,
                customer_id: order.customer_id,
                number,
                product_id: ProductId::new(id),
                units,
                amount: Money::from_minor(amount),
                is_restocked: number != 3,
                event_id: event.map(EventId::new),
                created_at: at(10 * number),
                line_units: 0,
                line_amount: Money::ZERO,
                quantity,
                net: Money::from_minor(net),
            };
        let (first, second) = ((3, 3, 270), (4, 2, 54));
        order.cancellations = vec![
            row(1, first, 1, 90, None),
            row(2, first, 1, 90, Some(8)),
            row(3, second, 1, 27, Some(8)),
            row(4, second, 1, 27, Some(9)),
        ];
        order
    }

    #[test]
    fn order_with_cancellations_has_the_rest_of_each_line() {
        let order = cancelled_in_parts();
        let left = |lines: Vec<Remainder<'_>>| -> Vec<(i64, i64, i64)> {
            lines.iter().map(|left| (left.units, left.net.minor(), left.gross().minor())).collect()
        };
        assert_eq!(left(order.paid_lines()), [(2, 180, 200), (2, 54, 60)]);
        assert_eq!(left(order.remainders()), [(1, 90, 100), (0, 0, 0)]);
        assert_eq!((order.paid().minor(), order.refunded().minor()), (234, 144));
        let refunds: Vec<_> = order.refunds().iter().map(|(amount, _)| amount.minor()).collect();
        assert_eq!(
            refunds,
            [117, 27],
            "a refund for each event, none for the part before the payment"
        );
        let units = |of: fn(&Order, &OrderLine) -> i64| {
            order.lines.iter().map(|line| of(&order, line)).collect::<Vec<_>>()
        };
        assert_eq!(units(|order, line| order.cancelled_units(line.product_id)), [2, 2]);
        assert_eq!(units(Order::units_out), [1, 1], "a unit of the second line did not go back");
    }

    #[test]
    fn cancelled_order_has_returned_all() {
        let mut order = cancelled_in_parts();
        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(Timestamp::from_unix(1_050));
        assert_eq!((order.paid().minor(), order.refunded().minor()), (234, 234));
        let refunds: Vec<_> = order.refunds().iter().map(|(amount, _)| amount.minor()).collect();
        assert_eq!(refunds, [117, 27, 90]);
        let units: Vec<_> =
            order.lines.iter().map(|line| order.cancelled_units(line.product_id)).collect();
        assert_eq!(units, [3, 2]);
        let out: Vec<_> = order.lines.iter().map(|line| order.units_out(line)).collect();
        assert_eq!(out, [0, 1]);
    }

    #[rstest]
    #[case::before_the_first(OrderStatus::Pending, 0, 324, 0, &[0, 0])]
    #[case::before_the_payment(OrderStatus::Pending, 1, 234, 0, &[1, 0])]
    #[case::paid(OrderStatus::Paid, 1, 0, 0, &[1, 0])]
    #[case::after_a_part(OrderStatus::Paid, 3, 0, 117, &[2, 1])]
    #[case::cancelled(OrderStatus::Cancelled, 4, 0, 234, &[3, 2])]
    fn order_shows_what_it_was(
        #[case] status: OrderStatus,
        #[case] cancellations: usize,
        #[case] due: i64,
        #[case] refunded: i64,
        #[case] cancelled: &[i64],
    ) {
        let mut order = cancelled_in_parts();
        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(Timestamp::from_unix(1_050));
        let before = serde_json::to_value(order.as_of(status, cancellations)).unwrap();
        let body = (before["due"].as_i64(), before["refunded"].as_i64(), &before["status"]);
        assert_eq!(body, (Some(due), Some(refunded), &serde_json::json!(status)));
        for (line, units) in before["lines"].as_array().unwrap().iter().zip(cancelled) {
            assert_eq!(line["cancelled_quantity"], *units);
        }
        assert_eq!(before["paid_at"].is_null(), status == OrderStatus::Pending);
        assert_eq!(before["cancelled_at"].is_null(), status != OrderStatus::Cancelled);
    }
}
