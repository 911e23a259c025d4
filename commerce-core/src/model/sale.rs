//! Sales: the figures and the products of an order that count at one instant.
//!
//! An order that is paid counts at that instant. An order that is cancelled counts twice: at the instant it was
//! cancelled for the *booked* basis, whose past never changes, and at the instant it was paid for the *standing*
//! basis, which takes it out of there.

use crate::clock::Timestamp;
use crate::id::{OrderId, ProductId};
use crate::model::order::{LineCancellation, Order, OrderStatus, Remainder};
use crate::money::Money;

/// Declares the figures: a line a figure, as `Name = number, "name";`.
macro_rules! figures {
    ($($(#[$doc:meta])* $figure:ident = $number:literal, $name:literal;)+) => {
        /// A figure of sales. Its number is part of the stored format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Figure {
            $($(#[$doc])* $figure,)+
        }

        impl Figure {
            /// All figures, by number.
            pub const ALL: [Self; 13] = [$(Self::$figure),+];

            /// Returns the number.
            #[must_use]
            pub const fn number(self) -> usize {
                match self {
                    $(Self::$figure => $number,)+
                }
            }

            /// Returns the name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$figure => $name,)+
                }
            }
        }
    };
}

figures! {
    /// Orders paid.
    Orders = 0, "orders";
    /// Units of these orders.
    Units = 1, "units";
    /// Their amounts before discounts.
    Gross = 2, "gross";
    /// Their discounts.
    Discounts = 3, "discounts";
    /// Those of customers without an earlier order.
    FirstOrders = 4, "first orders";
    /// Paid orders cancelled.
    CancelledOrders = 5, "cancelled orders";
    /// Units of cancelled orders.
    CancelledUnits = 6, "cancelled units";
    /// The money paid back for them.
    Refunds = 7, "refunds";
    /// Orders paid that were cancelled later.
    VoidOrders = 8, "void orders";
    /// Units of these orders.
    VoidUnits = 9, "void units";
    /// Their amounts before discounts.
    VoidGross = 10, "void gross";
    /// Their discounts.
    VoidDiscounts = 11, "void discounts";
    /// Those of customers without an earlier order.
    VoidFirstOrders = 12, "void first orders";
}

/// The number of each figure in a bucket of time, or its change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures([i64; Figure::ALL.len()]);

impl Figures {
    /// Returns a figure.
    #[must_use]
    pub fn get(&self, figure: Figure) -> i64 {
        self.0.get(figure.number()).copied().unwrap_or(0)
    }

    /// Adds to a figure.
    pub fn add(&mut self, figure: Figure, more: i64) {
        if let Some(sum) = self.0.get_mut(figure.number()) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Adds all figures of others.
    pub fn add_all(&mut self, others: &Self) {
        for (figure, more) in others.iter() {
            self.add(figure, more);
        }
    }

    /// Returns the figures that are not zero, by number.
    pub fn iter(&self) -> impl Iterator<Item = (Figure, i64)> + '_ {
        Figure::ALL.into_iter().zip(self.0).filter(|(_, number)| *number != 0)
    }
}

impl FromIterator<(Figure, i64)> for Figures {
    fn from_iter<I: IntoIterator<Item = (Figure, i64)>>(numbers: I) -> Self {
        let mut figures = Self::default();
        numbers.into_iter().for_each(|(figure, number)| figures.add(figure, number));
        figures
    }
}

/// Units and money that a product sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    /// Units, without those of cancelled orders.
    pub units: i64,
    /// Their price less their share of the discounts.
    pub net: Money,
}

impl Sold {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.units = self.units.saturating_add(other.units);
        self.net = Money::from_minor(self.net.minor().saturating_add(other.net.minor()));
    }
}

/// A change of the figures and of the products sold, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The instant.
    pub at: Timestamp,
    /// The figures.
    pub figures: Figures,
    /// The products; repeated ones add up.
    pub products: Vec<(ProductId, Sold)>,
}

impl Sale {
    /// The payment of an order, at the instant it was paid; `None` if it was not. `is_first` is true for the first
    /// order of its customer.
    pub(crate) fn of_payment(order: &Order, is_first: bool) -> Option<Self> {
        let paid_at = order.sold_at()?;
        let lines = order.paid_lines();
        let sum = Sum::of(&lines);
        Some(Self {
            at: paid_at,
            figures: Figures::from_iter([
                (Figure::Orders, 1),
                (Figure::Units, sum.units),
                (Figure::Gross, sum.gross),
                (Figure::Discounts, sum.discount()),
                (Figure::FirstOrders, i64::from(is_first)),
            ]),
            products: products(&lines, 1),
        })
    }

    /// The cancellation of parts of a paid order by one event: at the instant of the cancellation, and at the instant
    /// the order was paid.
    pub(crate) fn of_parts(order: &Order, rows: &[LineCancellation]) -> Option<[Self; 2]> {
        let (paid_at, cancelled_at) =
            order.sold_at().zip(rows.first().map(|row| row.created_at))?;
        let parts = rows.iter().filter_map(|row| {
            let line = order.lines.iter().find(|line| line.product_id == row.product_id)?;
            Some(Remainder { line, line_net: row.net, units: row.units, net: row.amount })
        });
        Some(Self::of_cancelled(&parts.collect::<Vec<_>>(), cancelled_at, paid_at))
    }

    /// The cancellation of what was left of a paid order: at the instant it was cancelled, and at the instant it was paid.
    pub(crate) fn of_cancellation(order: &Order, is_first: bool) -> Option<[Self; 2]> {
        let (paid_at, cancelled_at) = order.sold_at().zip(order.cancelled_at)?;
        if order.status != OrderStatus::Cancelled {
            return None;
        }
        let [mut cancelled, mut void] =
            Self::of_cancelled(&order.remainders(), cancelled_at, paid_at);
        cancelled.figures.add(Figure::CancelledOrders, 1);
        void.figures.add(Figure::VoidOrders, 1);
        void.figures.add(Figure::VoidFirstOrders, i64::from(is_first));
        Some([cancelled, void])
    }

    fn of_cancelled(
        lines: &[Remainder<'_>],
        cancelled_at: Timestamp,
        paid_at: Timestamp,
    ) -> [Self; 2] {
        let sum = Sum::of(lines);
        let cancelled = Self {
            at: cancelled_at,
            figures: Figures::from_iter([
                (Figure::CancelledUnits, sum.units),
                (Figure::Refunds, sum.net),
            ]),
            products: Vec::new(),
        };
        let void = Self {
            at: paid_at,
            figures: Figures::from_iter([
                (Figure::VoidUnits, sum.units),
                (Figure::VoidGross, sum.gross),
                (Figure::VoidDiscounts, sum.discount()),
            ]),
            products: products(lines, -1),
        };
        [cancelled, void]
    }

    /// All sales of an order as it is now.
    pub fn all_of(order: &Order, is_first: bool) -> impl Iterator<Item = Self> {
        let payment = Self::of_payment(order, is_first);
        let paid = order.cancellations.iter().position(|row| row.event_id.is_some());
        let rows = paid.and_then(|first| order.cancellations.get(first..)).unwrap_or_default();
        let events = rows.chunk_by(|one, next| one.event_id == next.event_id);
        let parts = events.filter_map(|rows| Self::of_parts(order, rows)).flatten();
        let rest = Self::of_cancellation(order, is_first).into_iter().flatten();
        payment.into_iter().chain(parts).chain(rest)
    }

    /// Changes the number of first orders, by one for an order that is the first of its customer and by minus one for
    /// an order that is no longer.
    pub(crate) fn of_first_order(first: FirstOrder, by: i64) -> Self {
        let mut figures = Figures::from_iter([(Figure::FirstOrders, by)]);
        if first.is_cancelled {
            figures.add(Figure::VoidFirstOrders, by);
        }
        Self { at: first.paid_at, figures, products: Vec::new() }
    }
}

/// The units and the money of lines.
#[derive(Default)]
struct Sum {
    units: i64,
    gross: i64,
    net: i64,
}

impl Sum {
    fn of(lines: &[Remainder<'_>]) -> Self {
        lines.iter().fold(Self::default(), |sum, line| Self {
            units: sum.units.saturating_add(line.units),
            gross: sum.gross.saturating_add(line.gross().minor()),
            net: sum.net.saturating_add(line.net.minor()),
        })
    }

    fn discount(&self) -> i64 {
        self.gross.saturating_sub(self.net)
    }
}

fn products(lines: &[Remainder<'_>], sign: i64) -> Vec<(ProductId, Sold)> {
    let lines = lines.iter().filter(|left| left.units != 0 || left.net != Money::ZERO);
    let sold = lines.map(|left| {
        let units = left.units.saturating_mul(sign);
        let net = Money::from_minor(left.net.minor().saturating_mul(sign));
        (left.line.product_id, Sold { units, net })
    });
    sold.collect()
}

/// The first order of a customer: of all that were ever paid, the one with the earliest payment; ties by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstOrder {
    /// The instant it was paid.
    pub paid_at: Timestamp,
    /// The order.
    pub order_id: OrderId,
    /// True if it was cancelled since.
    pub is_cancelled: bool,
}

impl FirstOrder {
    /// The order as a first order; `None` if it was never paid.
    pub(crate) fn of(order: &Order) -> Option<Self> {
        let is_cancelled = order.status == OrderStatus::Cancelled;
        order.sold_at().map(|paid_at| Self { paid_at, order_id: order.id, is_cancelled })
    }

    /// Returns true if it comes before another one.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        (self.paid_at, self.order_id) < (other.paid_at, other.order_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::order::tests::cancelled_in_parts;
    use rstest::rstest;
    use std::collections::BTreeMap;

    #[test]
    fn number_of_a_figure_is_its_position() {
        let numbers: Vec<_> = Figure::ALL.iter().map(|figure| figure.number()).collect();
        assert_eq!(numbers, (0..Figure::ALL.len()).collect::<Vec<_>>());
    }

    /// The statistics of an order add up to what it has kept, on both bases and for each product.
    #[rstest]
    fn sales_of_parts_add_up(#[values(false, true)] is_cancelled: bool) {
        use super::Figure::{
            CancelledOrders, CancelledUnits, Discounts, Gross, Orders, Refunds, Units,
        };
        let mut order = cancelled_in_parts();
        if is_cancelled {
            order.status = OrderStatus::Cancelled;
            order.cancelled_at = Some(Timestamp::from_unix(1_050));
        }
        let mut sum = Figures::default();
        let mut products = BTreeMap::<ProductId, Sold>::new();
        for sale in Sale::all_of(&order, true) {
            sum.add_all(&sale.figures);
            for (product, sold) in sale.products {
                products.entry(product).or_default().add(sold);
            }
        }
        let figures =
            |figures: &[Figure]| figures.iter().map(|of| sum.get(*of)).collect::<Vec<_>>();
        assert_eq!(figures(&[Orders, Units, Gross, Discounts]), [1, 4, 260, 26]);
        let cancelled = if is_cancelled { [1, 4, 234] } else { [0, 3, 144] };
        assert_eq!(figures(&[CancelledOrders, CancelledUnits, Refunds]), cancelled);
        let void =
            [Figure::VoidOrders, Figure::VoidUnits, Figure::VoidGross, Figure::VoidDiscounts];
        let expected = if is_cancelled { [1, 4, 260, 26] } else { [0, 3, 160, 16] };
        assert_eq!(figures(&void), expected);
        assert_eq!(sum.get(Figure::VoidFirstOrders), i64::from(is_cancelled));
        let left: Vec<_> = products.values().map(|sold| (sold.units, sold.net.minor())).collect();
        let expected = if is_cancelled { [(0, 0), (0, 0)] } else { [(1, 90), (0, 0)] };
        assert_eq!(left, expected);
    }
}
