//! The sales report: figures of a window, of each period in it, and of a window before.

use super::sealed::Build;
use super::window::{Compare, Edges, Window, buckets};
use super::{Facts, Source};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::EventId;
use crate::model::sale::{Figure, Figures};
use crate::money::Money;
use crate::zone::{Period, Zone};
use serde::{Deserialize, Serialize};

/// Requests a sales report. Default: the last seven days by day, booked, in the zone of the shop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SalesReportRequest {
    /// The window.
    pub window: Window,
    /// The length of the buckets.
    pub by: Period,
    /// The zone of days. Default: that of the shop.
    pub zone: Option<Zone>,
    /// The window to compare with.
    pub compare: Option<Compare>,
    /// The treatment of cancelled orders.
    pub basis: Basis,
}

/// The treatment of cancelled orders. Over all time both have the same orders less cancelled ones, and the same net less
/// refunds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A sale counts at the instant it was paid, a cancellation at the instant it was cancelled: the past never changes.
    #[default]
    Booked,
    /// A cancelled order is taken out of the window it was paid in.
    Standing,
}

/// The sales of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalesReport {
    /// The instant right before the window.
    pub from: Timestamp,
    /// The last second of the window.
    pub to: Timestamp,
    /// The zone of its days.
    pub zone: Zone,
    /// The treatment of cancelled orders.
    pub basis: Basis,
    /// The newest event that is counted; `None` if there is none.
    pub as_of_event: Option<EventId>,
    /// The figures of the whole window.
    pub totals: SalesFigures,
    /// The window to compare with, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<ComparedSales>,
    /// The periods of the window, in order; the first and the last are cut to it.
    pub buckets: Vec<SalesBucket>,
}

/// The window that a report is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ComparedSales {
    /// The instant right before the window.
    pub from: Timestamp,
    /// The last second of the window.
    pub to: Timestamp,
    /// The figures of the whole window.
    #[serde(flatten)]
    pub figures: SalesFigures,
    /// Its periods, in order.
    pub buckets: Vec<SalesBucket>,
}

/// The sales of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalesBucket {
    /// The instant right before the period: the last second of the one before.
    pub from: Timestamp,
    /// The last second of the period.
    pub to: Timestamp,
    /// The figures.
    #[serde(flatten)]
    pub figures: SalesFigures,
}

/// The figures of sales in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalesFigures {
    /// Orders paid.
    pub orders: i64,
    /// Their units.
    pub units: i64,
    /// Their amounts before discounts.
    pub gross: Money,
    /// Their discounts.
    pub discounts: Money,
    /// The amount paid: gross less discounts.
    pub net: Money,
    /// Paid orders cancelled; always zero on the standing basis.
    pub cancelled_orders: i64,
    /// Their units.
    pub cancelled_units: i64,
    /// The amount paid back for them.
    pub refunds: Money,
    /// Orders of customers without an earlier one.
    pub first_orders: i64,
    /// Net divided by orders, rounded down; zero without orders.
    pub average_order: Money,
}

impl SalesFigures {
    fn of(figures: &Figures, basis: Basis) -> Self {
        let both = |booked, void| match basis {
            Basis::Booked => figures.get(booked),
            Basis::Standing => figures.get(booked).saturating_sub(figures.get(void)),
        };
        let booked = |figure| match basis {
            Basis::Booked => figures.get(figure),
            Basis::Standing => 0,
        };
        let orders = both(Figure::Orders, Figure::VoidOrders);
        let gross = both(Figure::Gross, Figure::VoidGross);
        let discounts = both(Figure::Discounts, Figure::VoidDiscounts);
        let net = gross.saturating_sub(discounts);
        Self {
            orders,
            units: both(Figure::Units, Figure::VoidUnits),
            gross: Money::from_minor(gross),
            discounts: Money::from_minor(discounts),
            net: Money::from_minor(net),
            cancelled_orders: booked(Figure::CancelledOrders),
            cancelled_units: booked(Figure::CancelledUnits),
            refunds: Money::from_minor(booked(Figure::Refunds)),
            first_orders: both(Figure::FirstOrders, Figure::VoidFirstOrders),
            average_order: Money::from_minor(net.checked_div_euclid(orders).unwrap_or(0)),
        }
    }
}

impl Build for SalesReportRequest {
    type Report = SalesReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<SalesReport, Error> {
        let zone = match self.zone {
            Some(zone) => zone,
            None => source.snapshot.settings()?.zone,
        };
        let edges = self.window.edges(zone, source.now)?;
        let compared = self.compare.map(|compare| self.window.compared(edges, zone, compare));
        let (totals, parts) = self.figures(edges, zone, facts)?;
        let previous = match compared {
            Some(edges) => {
                let (figures, buckets) = self.figures(edges, zone, facts)?;
                Some(ComparedSales { from: edges.0, to: edges.1, figures, buckets })
            }
            None => None,
        };
        Ok(SalesReport {
            from: edges.0,
            to: edges.1,
            zone,
            basis: self.basis,
            as_of_event: source.snapshot.last_event()?,
            totals,
            previous,
            buckets: parts,
        })
    }
}

impl SalesReportRequest {
    fn figures(
        &self,
        window: Edges,
        zone: Zone,
        facts: &dyn Facts,
    ) -> Result<(SalesFigures, Vec<SalesBucket>), Error> {
        let edges = buckets(window, zone, self.by)?;
        let counts = facts.totals(&edges)?;
        let mut whole = Figures::default();
        for figures in &counts {
            whole.add_all(figures);
        }
        let windows = edges.iter().zip(edges.iter().skip(1)).zip(&counts);
        let parts = windows.map(|((from, to), figures)| SalesBucket {
            from: *from,
            to: *to,
            figures: SalesFigures::of(figures, self.basis),
        });
        Ok((SalesFigures::of(&whole, self.basis), parts.collect()))
    }
}
