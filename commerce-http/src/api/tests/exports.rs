//! Exports: kinds, formats, windows, and callers.

use super::*;
use crate::message::Body;
use commerce_core::{Export, ExportFormat, ExportKind};
use rstest::rstest;

/// The response to an export, with its rows.
fn export(world: &World, target: &str, token: &str) -> (Response, String) {
    let target = format!("/v1/exports/{target}");
    let request = start::request("GET", &target, token, &Value::Null);
    let Response { status, headers, body } = world.api.answer(&request);
    let rows = String::from_utf8(body.collect().unwrap()).unwrap();
    (Response { status, headers, body: Body::from(b"".as_slice()) }, rows)
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

#[test]
fn export_has_the_rows_of_the_library() {
    let world = world();
    for kind in ExportKind::ALL {
        for (format, media) in [
            (ExportFormat::Csv, "text/csv; charset=utf-8"),
            (ExportFormat::Ndjson, "application/x-ndjson"),
        ] {
            let target = format!("{kind}?format={format}");
            let (response, rows) = export(&world, &target, &world.admin);
            assert_eq!((response.status, header(&response, "Content-Type")), (200, media));
            let name = format!("attachment; filename=\"{kind}.{format}\"");
            assert_eq!(header(&response, "Content-Disposition"), name);
            let mut expected = Vec::new();
            let export = Export { format, ..Export::new(*kind) };
            world.api.shop().export(&export, &mut expected).unwrap();
            assert_eq!(rows.as_bytes(), expected, "{kind}");
        }
    }
}

#[test]
fn export_follows_each_parameter() {
    let world = world();
    let rows = |target: &str| export(&world, target, &world.admin).1;
    assert!(rows("orders?format=csv-bom").starts_with("\u{feff}order,customer_id,"));
    let all = rows("ledger").lines().count();
    assert!(all > 1);
    let until = rows("ledger?to=2027-01-15T08:00:00Z").lines().count();
    let after = rows("ledger?from=2027-01-15T08:00:00Z").lines().count();
    assert_eq!(until + after, all + 1, "each with a header");
    world.api.shop().call(AddProduct::new("=1+1", Money::from_minor(5), 1)).run().unwrap();
    assert!(rows("products").contains(",'=1+1,5,1,active,"));
    assert!(rows("products?raw=true").contains(",=1+1,5,1,active,"));
}

#[rstest]
#[case::no_token("orders", "", 401)]
#[case::customer("orders", "kim", 403)]
#[case::unknown_kind("passwords", "admin", 404)]
#[case::unknown_format("orders?format=xml", "admin", 422)]
#[case::no_instant("orders?from=yesterday", "admin", 422)]
#[case::empty_window("orders?from=2027-01-15T08:00:00Z&to=2027-01-15T08:00:00Z", "admin", 422)]
fn export_is_refused(#[case] target: &str, #[case] caller: &str, #[case] status: u16) {
    let world = world();
    let token = match caller {
        "admin" => &world.admin,
        "kim" => &world.kim,
        other => other,
    };
    let request = start::request("GET", &format!("/v1/exports/{target}"), token, &Value::Null);
    let response = world.api.answer(&request);
    let status_and_body = match response.body {
        // The first byte is not written yet: the transport sends this problem in place of the rows.
        Body::Stream(write) => {
            let problem = write(&mut Vec::new()).unwrap_err();
            (problem.status, problem.body.collect().unwrap())
        }
        body @ Body::Complete(_) => (response.status, body.collect().unwrap()),
    };
    assert_eq!(status_and_body.0, status);
    let problem: Value = serde_json::from_slice(&status_and_body.1).unwrap();
    assert_eq!(problem["status"], status);
}
