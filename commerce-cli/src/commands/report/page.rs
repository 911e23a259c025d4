//! The page of the day: the figures that a shop owner looks at first in the morning.

use super::{change, moved, numbers, positive, texts};
use crate::chart::{Bar, Chart, columns};
use crate::context::CommandContext;
use crate::error::CliError;
use crate::output;
use crate::table::{TextTable, or_dash};
use commerce_core::{
    Compare, ComparedSales, Money, Outbox, Period, ProductReport, ProductReportRequest,
    ProductStatus, RankBy, SalesBucket, SalesFigures, SalesReport, SalesReportRequest, StockReport,
    StockReportRequest, Timestamp, Window, Zone,
};
use serde::Serialize;

/// The number of products of each list.
const ROWS: usize = 5;

/// Stock that lasts this many days or fewer runs out soon.
const SOON: i64 = 14;

/// The height of the chart of hours in lines.
const HEIGHT: usize = 6;

/// The facts of the page.
#[derive(Serialize)]
struct Today {
    /// Today, against yesterday up to the same time of day.
    sales: SalesReport,
    /// The same day of last week, up to the same time of day.
    last_week: Option<ComparedSales>,
    products: ProductReport,
    stock: StockReport,
    events: Events,
}

/// Events that were not delivered yet.
#[derive(Serialize)]
struct Events {
    waiting: u64,
    failed: u64,
    parked: u64,
}

pub(super) fn show(
    context: &CommandContext,
    zone: Zone,
    at: Option<Timestamp>,
) -> Result<(), CliError> {
    let shop = &context.shop;
    let sales = |compare| {
        shop.report(&SalesReportRequest {
            window: Window::Days { days: 1, to: at },
            by: Period::Hour,
            zone: Some(zone),
            compare: Some(compare),
            ..SalesReportRequest::default()
        })
    };
    let products = ProductReportRequest { by: RankBy::Net, limit: ROWS, at, ..Default::default() };
    let mut stock = shop.report(&StockReportRequest::default())?;
    stock.items.retain(|item| item.days_left.is_some_and(|days| days <= SOON));
    stock.items.truncate(ROWS);
    let Outbox { waiting, failed, parked, .. } = shop.outbox()?;
    let today = Today {
        sales: sales(Compare::Previous)?,
        last_week: sales(Compare::LastWeek)?.previous,
        products: shop.report(&products)?,
        stock,
        events: Events { waiting, failed, parked },
    };
    let chart = Chart { width: output::width(), colours: output::colours() };
    context.print(today, |today| render(context, today, chart))
}

fn render(context: &CommandContext, today: &Today, chart: Chart) -> String {
    let zone = today.sales.zone;
    let title = chart.bold(&format!("{} ({zone})", zone.show(today.sales.to)));
    let sections = [
        title,
        figures(context, today),
        hours(context, &today.sales, chart),
        ranking(context, &today.products, chart),
        stock(&today.stock, chart),
        events(&today.events),
    ];
    sections.join("\n\n")
}

/// Today beside yesterday and the same day of last week, each up to the same time of day.
fn figures(context: &CommandContext, today: &Today) -> String {
    let currency = context.shop.currency();
    let nothing = SalesFigures::default();
    let yesterday = today.sales.previous.as_ref().map_or(nothing, |one| one.figures);
    let last_week = today.last_week.as_ref().map_or(nothing, |one| one.figures);
    let columns = [today.sales.totals, yesterday, last_week];
    let shown = columns.map(|figures| texts(context, &figures));
    let names = [
        (0, "orders".to_owned()),
        (1, "first orders".to_owned()),
        (2, "units".to_owned()),
        (5, format!("net {currency}")),
        (6, format!("average order {currency}")),
        (9, format!("refunds {currency}")),
    ];
    let all = columns.map(|figures| numbers(&figures));
    let headers = ["", ">today", ">yesterday", ">", ">same day last week", ">"];
    let table = names.into_iter().fold(TextTable::new(headers, ""), |table, (index, name)| {
        let text = |column: usize| {
            shown.get(column).and_then(|one| one.get(index)).cloned().unwrap_or_default()
        };
        let number = |column: usize| {
            all.get(column).and_then(|one| one.get(index)).copied().unwrap_or_default()
        };
        let against = |column: usize| change(number(0), number(column));
        table.row([name, text(0), text(1), against(1), text(2), against(2)])
    });
    table.text()
}

/// The net of each hour of today as columns, and of yesterday below them on the same scale.
fn hours(context: &CommandContext, sales: &SalesReport, chart: Chart) -> String {
    let zone = sales.zone;
    let label = |bucket: &SalesBucket| {
        let start = zone.show(bucket.from.plus_seconds(1));
        start.get(11..13).unwrap_or_default().to_owned()
    };
    let yesterday = sales.previous.as_ref().map(|one| one.buckets.as_slice()).unwrap_or_default();
    let net = |bucket: &SalesBucket| positive(bucket.figures.net);
    let values: Vec<u64> = sales.buckets.iter().map(net).collect();
    let before: Vec<u64> = yesterday.iter().map(net).collect();
    let most = values.iter().chain(&before).copied().max().unwrap_or(0);
    if most == 0 {
        return "No sales today or yesterday up to this time.".to_owned();
    }
    let width = chart.width.saturating_sub(2).div_euclid(24).clamp(2, 5);
    let mut lines = vec![format!(
        "Net by hour, at most {}",
        context.money(Money::from_minor(i64::try_from(most).unwrap_or(0)))
    )];
    lines.extend(columns(&values, most, width, HEIGHT).iter().map(|line| chart.paint("36", line)));
    let mut axis = String::new();
    for (index, bucket) in sales.buckets.iter().enumerate() {
        let text = if index.rem_euclid(3) == 0 { label(bucket) } else { String::new() };
        axis.push_str(&text);
        axis.push_str(&" ".repeat(width.saturating_sub(text.len())));
    }
    lines.push(axis.trim_end().to_owned());
    lines.push("yesterday".to_owned());
    lines.extend(columns(&before, most, width, 2).iter().map(|line| chart.paint("2", line)));
    lines.join("\n")
}

fn ranking(context: &CommandContext, report: &ProductReport, chart: Chart) -> String {
    if report.items.is_empty() {
        return "No product was sold in the last seven days.".to_owned();
    }
    let bars = report.items.iter().map(|item| Bar {
        rank: item.rank,
        name: &item.name,
        detail: format!("{} {} sold", moved(item.rank, item.rank_before), item.units),
        value: positive(item.net),
        label: context.number(item.net),
        archived: item.status == ProductStatus::Archived,
    });
    let bars: Vec<_> = bars.collect();
    let currency = context.shop.currency();
    format!("Top products of the last seven days ({currency})\n{}", chart.draw(&bars))
}

fn stock(report: &StockReport, chart: Chart) -> String {
    if report.items.is_empty() {
        return format!("All stock lasts more than {SOON} days.");
    }
    let headers = ["", ">in stock", ">days left", ">sold in 28 days"];
    let name = |name: &str| {
        crate::chart::fitted(name, chart.width.saturating_sub(42).max(8)).trim_end().to_owned()
    };
    let table = TextTable::new(headers, "").rows(&report.items, |item| {
        let (stock, sold) = (item.stock.to_string(), item.sold.to_string());
        [name(&item.name), stock, or_dash(item.days_left), sold]
    });
    format!("Stock that runs out\n{}", table.text())
}

fn events(events: &Events) -> String {
    let Events { waiting, failed, parked } = events;
    if (*waiting, *parked) == (0, 0) {
        return "All events are delivered.".to_owned();
    }
    let failing = if *failed > 0 {
        format!(", {failed} of them after failed attempts")
    } else {
        String::new()
    };
    let parked = match parked {
        0 => String::new(),
        parked => format!("; {parked} parked: see commerce events list --parked"),
    };
    format!("Events that wait for delivery: {waiting}{failing}{parked}.")
}
