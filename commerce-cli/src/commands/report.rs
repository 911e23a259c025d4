//! `commerce report`: the page of the day, and reports of sales, products, stock, coupons and balances.

use crate::chart::filled;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::output::{self, Output};
use crate::table::{TextTable, or_dash, properties};
use crate::values::{self, Edge};
use clap::ValueEnum;
use commerce_core::{
    BalanceReport, BalanceReportRequest, Basis, Compare, CouponReport, CouponReportRequest, Money,
    Period, ProductReport, ProductReportRequest, Proof, RankBy, ReportRequest, SalesBucket,
    SalesFigures, SalesReport, SalesReportRequest, StockReport, StockReportRequest, Timestamp,
    ToCsv, Window, Zone,
};
use serde::Serialize;

mod page;

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReportCommand {
    /// Instant at which the day is looked at; stock and events are those of now (default: now).
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    zone: ZoneArg,
    #[command(subcommand)]
    report: Option<Report>,
}

#[derive(clap::Subcommand, Debug)]
enum Report {
    Sales(SalesArgs),
    Products(ProductsArgs),
    Stock(StockArgs),
    /// Shows the use of each coupon campaign: claimed, used and given back, the discounts, and what was paid.
    Coupons {
        #[command(flatten)]
        form: FormArgs,
    },
    /// Shows the prepaid money that is owed to customers at an instant. Reads the whole ledger.
    Balances {
        /// Last second that counts (default: now).
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
        #[command(flatten)]
        form: FormArgs,
    },
}

/// Shows the sales of a window: orders, units, gross, discounts, net, cancellations and refunds.
#[derive(clap::Args, Debug)]
struct SalesArgs {
    /// Start of the window: a time, which does not count itself, or a day like 2026-01-31.
    #[arg(long, value_name = "TIME", value_parser = values::edge, conflicts_with = "days")]
    from: Option<Edge>,
    /// End of the window: a time or a day, which count themselves (default: now).
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    to: Option<Edge>,
    /// Length of the window in local days, the last one up to the end of the window, 1 to 366.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    #[arg(value_parser = values::integer, allow_negative_numbers = true)]
    days: i64,
    /// Length of a bucket.
    #[arg(long, value_name = "PERIOD", default_value = "day")]
    by: PeriodArg,
    #[command(flatten)]
    zone: ZoneArg,
    /// Window to compare with.
    #[arg(long, value_name = "WINDOW")]
    compare: Option<CompareArg>,
    /// Treatment of cancelled orders.
    #[arg(long, value_name = "BASIS", default_value = "booked")]
    basis: BasisArg,
    #[command(flatten)]
    form: FormArgs,
}

/// Ranks the products sold in a window, with their ranks in the window before.
#[derive(clap::Args, Debug)]
struct ProductsArgs {
    /// Order of the ranking.
    #[arg(long, value_name = "ORDER", default_value = "units")]
    by: RankArg,
    /// Length of the window in days of 24 hours, 1 to 366.
    #[arg(long, value_name = "DAYS", default_value_t = ProductReportRequest::default().days)]
    #[arg(value_parser = values::integer, allow_negative_numbers = true)]
    days: i64,
    /// Maximum number of products, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = ProductReportRequest::default().limit)]
    #[arg(value_parser = values::count, allow_negative_numbers = true)]
    limit: usize,
    /// End of the window (default: now).
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    form: FormArgs,
}

/// Shows the stock of products, and the days it lasts at the rate of a window: those low on stock first, of each the first
/// to run out first.
#[derive(clap::Args, Debug)]
struct StockArgs {
    /// Length of the window in days of 24 hours, 1 to 366.
    #[arg(long, value_name = "DAYS", default_value_t = StockReportRequest::default().days)]
    #[arg(value_parser = values::integer, allow_negative_numbers = true)]
    days: i64,
    /// Maximum number of products, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = StockReportRequest::default().limit)]
    #[arg(value_parser = values::count, allow_negative_numbers = true)]
    limit: usize,
    #[command(flatten)]
    form: FormArgs,
}

// The form of a report.
#[derive(clap::Args, Debug)]
struct FormArgs {
    /// Prints comma-separated values: amounts in minor units, times in UTC.
    #[arg(long)]
    csv: bool,
    /// Begins them with a byte order mark, so that a spreadsheet reads them as UTF-8.
    #[arg(long, requires = "csv")]
    bom: bool,
    /// Counts the report again from orders, lines and ledger, and names each difference: exit status 3 if there is one.
    /// Reads the whole store.
    #[arg(long)]
    prove: bool,
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct ZoneArg {
    /// Zone of the days, an IANA name like Asia/Seoul (default: the zone of the shop).
    #[arg(long, value_name = "ZONE")]
    zone: Option<Zone>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum PeriodArg {
    Hour,
    Day,
    Week,
    Month,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum CompareArg {
    /// As many local days earlier with --days, or else as many seconds
    Previous,
    /// The same local times a week earlier
    LastWeek,
    /// The same local times a year earlier
    LastYear,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum BasisArg {
    /// A sale counts when it was paid, and a cancellation when it was cancelled
    Booked,
    /// A cancelled order is taken out of the window it was paid in
    Standing,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum RankArg {
    /// Most units first
    Units,
    /// Most money first, after discounts
    Net,
    /// The greatest increase of units over the window before first
    Rising,
}

impl From<RankArg> for RankBy {
    fn from(by: RankArg) -> Self {
        match by {
            RankArg::Units => Self::Units,
            RankArg::Net => Self::Net,
            RankArg::Rising => Self::Rising,
        }
    }
}

impl ReportCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let Some(report) = self.report else {
            page::show(context, self.zone.or_of_shop(context)?, self.at)?;
            return Ok(ExitKind::Success);
        };
        match report {
            Report::Sales(arguments) => arguments.run(context),
            Report::Products(ProductsArgs { by, days, limit, at, form }) => {
                let request = ProductReportRequest { by: by.into(), days, limit, at };
                form.show(context, &request, |report| products(context, report))
            }
            Report::Stock(StockArgs { days, limit, form }) => {
                form.show(context, &StockReportRequest { days, limit }, stock)
            }
            Report::Coupons { form } => {
                form.show(context, &CouponReportRequest, |report| coupons(context, report))
            }
            Report::Balances { at, form } => {
                form.show(context, &BalanceReportRequest { at }, |report| balances(context, report))
            }
        }
    }
}

impl ZoneArg {
    fn or_of_shop(self, context: &CommandContext) -> Result<Zone, CliError> {
        match self.zone {
            Some(zone) => Ok(zone),
            None => Ok(context.shop.settings()?.zone),
        }
    }
}

impl FormArgs {
    fn show<R: ReportRequest<Report: ToCsv>>(
        &self,
        context: &CommandContext,
        request: &R,
        text: impl FnOnce(&R::Report) -> String,
    ) -> Result<ExitKind, CliError> {
        if self.csv && context.output.is_json() {
            return Err(CliError::usage("--csv and --json are two formats: omit one of them"));
        }
        let Proof { report, differences, .. } = if self.prove {
            context.shop.prove(request)?
        } else {
            let report = context.shop.report(request)?;
            return self.print(context, &report, text).map(|()| ExitKind::Success);
        };
        if context.output.is_json() {
            #[derive(Serialize)]
            struct Proved<'a, R> {
                #[serde(flatten)]
                report: &'a R,
                differences: &'a [commerce_core::Difference],
            }
            let body = Proved { report: &report, differences: &differences };
            context.print(body, |_| String::new())?;
        } else {
            self.print(context, &report, text)?;
            if differences.is_empty() {
                context.output.note("(proved: orders, lines and ledger give the same figures)");
            }
        }
        for difference in &differences {
            let (pointer, reported) = (&difference.pointer, &difference.reported);
            let recounted = &difference.recounted;
            context.output.note(format_args!("{pointer}: {reported}, counted again: {recounted}"));
        }
        Ok(if differences.is_empty() { ExitKind::Success } else { ExitKind::AuditFailed })
    }

    fn print<T: Serialize + ToCsv>(
        &self,
        context: &CommandContext,
        report: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if !self.csv {
            return context.print(report, |report| text(report));
        }
        let csv = report.to_csv();
        let mark = if self.bom { "\u{feff}" } else { "" };
        Output::print_text(&format!("{mark}{}", csv.trim_end_matches('\n')))
    }
}

impl SalesArgs {
    fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let zone = self.zone.or_of_shop(context)?;
        values::check_window(self.from.as_ref(), self.to.as_ref(), zone)?;
        let to = self.to.as_ref().map(|to| to.last_second(zone));
        let window = match &self.from {
            Some(from) => Window::Between { from: from.before(zone), to },
            None => Window::Days { days: self.days, to },
        };
        let request = SalesReportRequest {
            window,
            by: match self.by {
                PeriodArg::Hour => Period::Hour,
                PeriodArg::Day => Period::Day,
                PeriodArg::Week => Period::Week,
                PeriodArg::Month => Period::Month,
            },
            zone: Some(zone),
            compare: self.compare.map(|compare| match compare {
                CompareArg::Previous => Compare::Previous,
                CompareArg::LastWeek => Compare::LastWeek,
                CompareArg::LastYear => Compare::LastYear,
            }),
            basis: match self.basis {
                BasisArg::Booked => Basis::Booked,
                BasisArg::Standing => Basis::Standing,
            },
        };
        self.form.show(context, &request, |report| sales(context, report, request.by))
    }
}

/// The label of a bucket: the local time it begins, to the hour or the day.
fn label(zone: Zone, bucket: &SalesBucket, by: Period) -> String {
    let start = zone.show(bucket.from.plus_seconds(1));
    match by {
        Period::Hour => start,
        Period::Day | Period::Week | Period::Month => {
            start.split(' ').next().unwrap_or_default().to_owned()
        }
    }
}

/// Draws a line for each bucket with a bar of its net, the totals, and the change against the window before.
fn sales(context: &CommandContext, report: &SalesReport, by: Period) -> String {
    let zone = report.zone;
    let title = format!(
        "Sales from {} to {} ({zone}, {})",
        zone.show(report.from.plus_seconds(1)),
        zone.show(report.to),
        match report.basis {
            Basis::Booked => "booked",
            Basis::Standing => "standing",
        }
    );
    let mut rows = vec![[
        String::new(),
        "orders".to_owned(),
        "units".to_owned(),
        format!("net ({})", context.shop.currency()),
    ]];
    let row = |label: String, figures: &SalesFigures| {
        let (orders, units) = (figures.orders.to_string(), figures.units.to_string());
        [label, orders, units, context.number(figures.net)]
    };
    for bucket in &report.buckets {
        rows.push(row(label(zone, bucket, by), &bucket.figures));
    }
    rows.push(row("total".to_owned(), &report.totals));
    let most = report.buckets.iter().map(|bucket| positive(bucket.figures.net)).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let taken = widths.iter().fold(8_usize, |sum, width| sum.saturating_add(*width));
    let room = output::width().saturating_sub(taken);
    let bars = std::iter::once(None)
        .chain(report.buckets.iter().map(|bucket| Some(positive(bucket.figures.net))));
    let lines = rows.iter().zip(bars.chain(std::iter::once(None))).map(|(row, bar)| {
        let [label, orders, units, net] = row;
        let bar = bar.filter(|_| room >= 4).map(|net| filled(net, most, room)).unwrap_or_default();
        let line = format!(
            "{label:<0$}  {orders:>1$}  {units:>2$}  {net:>3$}  {bar}",
            widths[0], widths[1], widths[2], widths[3]
        );
        line.trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    format!("{title}\n\n{}\n\n{}", lines.join("\n"), figures(context, report))
}

/// The figures of the whole window, beside those of the window it is compared with.
fn figures(context: &CommandContext, report: &SalesReport) -> String {
    let names = [
        "orders",
        "first orders",
        "units",
        "gross",
        "discounts",
        "net",
        "average order",
        "cancelled orders",
        "cancelled units",
        "refunds",
    ];
    let currency = context.shop.currency();
    let totals = names.into_iter().zip(texts(context, &report.totals));
    let Some(previous) = &report.previous else {
        let table = TextTable::new([&format!("in {currency}"), ">total"], "");
        return totals.fold(table, |table, (name, total)| table.row([name.into(), total])).text();
    };
    let before = format!(">from {}", report.zone.show(previous.from.plus_seconds(1)));
    let table = TextTable::new([&format!("in {currency}"), ">total", &before, ">change"], "");
    let numbers = numbers(&report.totals).into_iter().zip(numbers(&previous.figures));
    let rows = totals.zip(texts(context, &previous.figures)).zip(numbers);
    rows.fold(table, |table, (((name, total), before), (new, old))| {
        table.row([name.into(), total, before, change(new, old)])
    })
    .text()
}

/// The figures as texts, in the order of the table.
fn texts(context: &CommandContext, figures: &SalesFigures) -> [String; 10] {
    [
        figures.orders.to_string(),
        figures.first_orders.to_string(),
        figures.units.to_string(),
        context.number(figures.gross),
        context.number(figures.discounts),
        context.number(figures.net),
        context.number(figures.average_order),
        figures.cancelled_orders.to_string(),
        figures.cancelled_units.to_string(),
        context.number(figures.refunds),
    ]
}

/// The figures as numbers, in the order of the table.
fn numbers(figures: &SalesFigures) -> [i64; 10] {
    [
        figures.orders,
        figures.first_orders,
        figures.units,
        figures.gross.minor(),
        figures.discounts.minor(),
        figures.net.minor(),
        figures.average_order.minor(),
        figures.cancelled_orders,
        figures.cancelled_units,
        figures.refunds.minor(),
    ]
}

/// The change from an old number to a new one in percent, rounded down towards zero.
fn change(new: i64, old: i64) -> String {
    let difference = i128::from(new).saturating_sub(i128::from(old));
    match difference.saturating_mul(100).checked_div(i128::from(old)) {
        Some(percent) => format!("{percent:+} %"),
        None => "-".to_owned(),
    }
}

fn positive(amount: Money) -> u64 {
    u64::try_from(amount.minor()).unwrap_or(0)
}

/// Hundredths of a percent as a percentage with one decimal, rounded down.
fn percent(basis_points: i64) -> String {
    format!("{}.{} %", basis_points.div_euclid(100), basis_points.rem_euclid(100).div_euclid(10))
}

/// The change of a rank: up, down, the same, or new in the ranking.
fn moved(rank: usize, before: Option<usize>) -> String {
    match before {
        None => "new".to_owned(),
        Some(before) if before > rank => format!("▲{}", before.saturating_sub(rank)),
        Some(before) if before < rank => format!("▼{}", rank.saturating_sub(before)),
        Some(_) => "=".to_owned(),
    }
}

fn products(context: &CommandContext, report: &ProductReport) -> String {
    let net = context.head("net");
    let headers = [">", "", ">id", "product", ">units", ">before", &net, ">share", ">stock"];
    TextTable::new(headers, "no sales in this window")
        .rows(&report.items, |item| {
            [
                item.rank.to_string(),
                moved(item.rank, item.rank_before),
                item.product_id.to_string(),
                item.name.clone(),
                item.units.to_string(),
                item.units_before.to_string(),
                context.number(item.net),
                percent(item.share_basis_points),
                item.stock.to_string(),
            ]
        })
        .text()
}

fn stock(report: &StockReport) -> String {
    let headers = [
        ">id",
        "product",
        ">stock",
        ">days left",
        ">low at",
        ">sold",
        ">received",
        ">sell-through",
    ];
    TextTable::new(headers, "no products")
        .rows(&report.items, |item| {
            [
                item.product_id.to_string(),
                item.name.clone(),
                item.stock.to_string(),
                or_dash(item.days_left),
                or_dash(item.low_stock_threshold),
                item.sold.to_string(),
                item.received.to_string(),
                percent(item.sell_through_basis_points),
            ]
        })
        .text()
}

fn coupons(context: &CommandContext, report: &CouponReport) -> String {
    let (discounts, net) = (context.head("discounts"), context.head("net"));
    let headers =
        [">id", "campaign", ">coupons", ">issued", ">used", ">given back", &discounts, &net];
    TextTable::new(headers, "no coupons")
        .rows(&report.items, |item| {
            [
                item.coupon_id.to_string(),
                item.name.clone(),
                item.quantity.to_string(),
                item.issued.to_string(),
                item.used.to_string(),
                item.given_back.to_string(),
                context.number(item.discounts),
                context.number(item.net),
            ]
        })
        .text()
}

fn balances(context: &CommandContext, report: &BalanceReport) -> String {
    properties([
        ("at", report.at.to_string()),
        ("charged", context.money(report.charged)),
        ("debited", context.money(report.debited)),
        ("spent", context.money(report.spent)),
        ("refunded", context.money(report.refunded)),
        ("paid back to payers", context.money(report.returned)),
        ("debts", context.money(report.debts)),
        ("outstanding", context.money(report.outstanding)),
        ("customers with money", report.customers.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(120, 100, "+20 %")]
    #[case(1, 3, "-66 %")]
    #[case(0, 5, "-100 %")]
    #[case(5, 0, "-")]
    #[case(i64::MAX, 1, "+922337203685477580600 %")]
    fn change_is_in_percent(#[case] new: i64, #[case] old: i64, #[case] text: &str) {
        assert_eq!(change(new, old), text);
    }

    #[rstest]
    #[case(1, Some(4), "▲3")]
    #[case(4, Some(1), "▼3")]
    #[case(2, Some(2), "=")]
    #[case(2, None, "new")]
    fn moves_of_ranks_are_shown(
        #[case] rank: usize,
        #[case] before: Option<usize>,
        #[case] text: &str,
    ) {
        assert_eq!(moved(rank, before), text);
    }

    #[test]
    fn shares_have_one_decimal() {
        assert_eq!(
            (percent(0), percent(9), percent(1_239), percent(10_000)),
            ("0.0 %".into(), "0.0 %".into(), "12.3 %".into(), "100.0 %".into())
        );
    }
}
