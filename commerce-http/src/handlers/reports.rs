//! Reports, as JSON or comma-separated values, and proofs of them.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::{
    BalanceReportRequest, CouponReportRequest, Difference, Error, ProductReportRequest, Refusal,
    ReportRequest, SalesReportRequest, StockReportRequest, Timestamp, ToCsv, Window, Zone,
};
use serde::Serialize;

/// The days of a sales report without a window.
const SALES_DAYS: i64 = 7;

/// The mark by which spreadsheets recognize UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    CsvWithMark,
}

/// A report that was counted again.
#[derive(Serialize)]
struct Proven<R> {
    #[serde(flatten)]
    report: R,
    /// Each value that another count gives.
    differences: Vec<Difference>,
}

/// The events that wait for their delivery.
#[derive(Serialize)]
struct WaitingEvents {
    waiting: u64,
    failed: u64,
    parked: u64,
    oldest_at: Option<Timestamp>,
}

pub(crate) fn sales(call: &RequestContext<'_>) -> HandlerResult {
    let (from, to) = (call.parameter("from")?, call.parameter("to")?);
    let window = match (from, call.parameter("days")?) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("/days", "send either from or days").into());
        }
        (Some(from), None) => Window::Between { from, to },
        (None, days) => Window::Days { days: days.unwrap_or(SALES_DAYS), to },
    };
    let request = SalesReportRequest {
        window,
        by: call.word("by")?.unwrap_or_default(),
        zone: zone(call)?,
        compare: call.word("compare")?,
        basis: call.word("basis")?.unwrap_or_default(),
    };
    answer(call, &request)
}

pub(crate) fn products(call: &RequestContext<'_>) -> HandlerResult {
    let default = ProductReportRequest::default();
    let request = ProductReportRequest {
        by: call.word("by")?.unwrap_or(default.by),
        days: call.parameter("days")?.unwrap_or(default.days),
        limit: call.parameter("limit")?.unwrap_or(default.limit),
        at: call.parameter("at")?,
    };
    answer(call, &request)
}

pub(crate) fn stock(call: &RequestContext<'_>) -> HandlerResult {
    let default = StockReportRequest::default();
    let request = StockReportRequest {
        days: call.parameter("days")?.unwrap_or(default.days),
        limit: call.parameter("limit")?.unwrap_or(default.limit),
    };
    answer(call, &request)
}

pub(crate) fn coupons(call: &RequestContext<'_>) -> HandlerResult {
    answer(call, &CouponReportRequest)
}

pub(crate) fn balances(call: &RequestContext<'_>) -> HandlerResult {
    answer(call, &BalanceReportRequest { at: call.parameter("at")? })
}

pub(crate) fn events(call: &RequestContext<'_>) -> HandlerResult {
    let outbox = call.shop().outbox()?;
    Ok(Success::ok(&WaitingEvents {
        waiting: outbox.waiting,
        failed: outbox.failed,
        parked: outbox.parked,
        oldest_at: outbox.oldest,
    }))
}

/// Builds a report in the form that the caller asked for.
fn answer<R>(call: &RequestContext<'_>, request: &R) -> HandlerResult
where
    R: ReportRequest,
    R::Report: Serialize + ToCsv,
{
    let form = form(call)?;
    if call.parameter("prove")? == Some(true) {
        if form != Form::Json {
            return Err(
                Refusal::invalid("/prove", "a proof is JSON: ask for it without CSV").into()
            );
        }
        let proof = call.shop().prove(request)?;
        let found = proof.differences.len();
        let proven = Proven { report: proof.report, differences: proof.differences };
        let proven = Success::ok(&call.priced(proven)).with("Vary", "Accept");
        let log = || format!("another count gives {found} other values: run the audit");
        return Ok(if found == 0 { proven } else { proven.logged(log()) });
    }
    let report = call.shop().report(request)?;
    let mark = match form {
        Form::Json => return Ok(Success::ok(&call.priced(report)).with("Vary", "Accept")),
        Form::Csv => "",
        Form::CsvWithMark => BYTE_ORDER_MARK,
    };
    let csv = format!("{mark}{}", report.to_csv()).into_bytes();
    let csv = Success::text("text/csv; charset=utf-8", csv);
    Ok(csv.with("Vary", "Accept"))
}

/// The form in the query, or else the first one in `Accept` that reports have.
fn form(call: &RequestContext<'_>) -> Result<Form, Error> {
    Ok(match call.parameter::<String>("format")?.as_deref() {
        Some("csv") => Form::Csv,
        Some("csv-bom") => Form::CsvWithMark,
        None if accepts_csv(call.request.values("Accept")) => Form::Csv,
        _ => Form::Json,
    })
}

fn accepts_csv<'a>(headers: impl Iterator<Item = &'a str>) -> bool {
    let media = |range: &'a str| range.split(';').next().unwrap_or_default().trim();
    let known = ["text/csv", "application/json", "*/*"];
    let mut ranges = headers.flat_map(|header| header.split(',')).map(media);
    let first = ranges.find(|range| known.iter().any(|known| known.eq_ignore_ascii_case(range)));
    first.is_some_and(|range| range.eq_ignore_ascii_case("text/csv"))
}

/// The zone; only the database of zones knows which names are valid.
fn zone(call: &RequestContext<'_>) -> Result<Option<Zone>, Error> {
    let Some(name) = call.parameter::<String>("zone")? else { return Ok(None) };
    name.parse().map(Some).map_err(|error: commerce_core::ParseZoneError| {
        Refusal::invalid("/zone", error.to_string()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::none(&[], false)]
    #[case::csv(&["text/csv"], true)]
    #[case::parameters(&["Text/CSV;header=present"], true)]
    #[case::browser(&["text/html,*/*;q=0.8"], false)]
    #[case::json_first(&["application/json, text/csv"], false)]
    #[case::csv_first(&["text/html", "text/csv, application/json"], true)]
    fn csv_is_sent_if_it_is_accepted_before_json(#[case] headers: &[&str], #[case] csv: bool) {
        assert_eq!(accepts_csv(headers.iter().copied()), csv);
    }
}
