//! Imports: refused rows, the state they leave behind, and the import of the corrected file.

use super::{CommandOutput, TestDir};
use rstest::rstest;
use serde_json::Value;
use std::fmt::Write;
use std::process::Stdio;

const HEADER: &str = "order,customer_id,placed_at,product_id,quantity";

/// The store of [`TestDir::stocked`], with a customer 2 who has the same balance.
fn stocked_dir() -> TestDir {
    let dir = TestDir::stocked();
    dir.json("customer add Lee");
    dir.json("charge 2 10000");
    dir
}

fn orders(rows: &[&str]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// Runs an import that must be refused. Returns its exit status and problem object.
fn refused(dir: &TestDir, what: &str, file: &str) -> (i32, Value) {
    let CommandOutput { status, err, .. } =
        dir.run_with_input(&format!("--json import {what} -"), file);
    (status, serde_json::from_str(&err).unwrap_or_else(|_| panic!("{status}: {err}")))
}

fn import(dir: &TestDir, what: &str, file: &str) -> (u64, u64) {
    let output = dir.run_with_input(&format!("--json import {what} -"), file);
    assert_eq!(output.status, 0, "{}", output.err);
    let report: Value = serde_json::from_str(&output.out).unwrap();
    (report["imported"].as_u64().unwrap(), report["skipped"].as_u64().unwrap())
}

fn count(dir: &TestDir, table: &str) -> u64 {
    let report = dir.json("audit");
    assert_eq!(report["ok"], true);
    report["checked"][table].as_u64().unwrap()
}

#[test]
fn import_refuses_future_rows_and_expires_no_hold() {
    let dir = stocked_dir();
    dir.json("product add Rare 100 1");
    assert_eq!(dir.json("order 1 3 --unpaid")["id"], 1);
    let file = orders(&["a,2,2026-01-31T12:00:00Z,2,1", "b,2,2128-01-01T00:00:00Z,3,1"]);
    for skipped in 0..2 {
        let (status, problem) = refused(&dir, "orders", &file);
        assert_eq!((status, &problem["code"]), (2, &"invalid_request".into()));
        assert_eq!((&problem["line"], &problem["order"]), (&3.into(), &"b".into()));
        assert_eq!(problem["skipped"], skipped);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("2128-01-01T00:00:00Z is ahead of the clock"), "{detail}");
    }
    assert_eq!(dir.json("orders show 1")["status"], "pending");
    assert_eq!(dir.json("product show 3")["stock"], 0);
    assert_eq!(dir.json("orders pay 1")["status"], "paid");
    let corrected = file.replace("2128", "2026").replace(",3,1", ",2,1");
    assert_eq!(import(&dir, "orders", &corrected), (1, 1));
}

#[rstest]
#[case::product_not_found("9,1", "product_not_found")]
#[case::archived("3,1", "product_archived")]
#[case::stock("1,11", "insufficient_stock")]
#[case::balance("1,9", "insufficient_balance")]
#[case::quantity("1,0", "invalid_request")]
fn refused_order_is_imported_after_correction(#[case] wrong: &str, #[case] code: &str) {
    let dir = stocked_dir();
    dir.json("product add Old 1 1");
    dir.json("product archive 3");
    let rows = |item: &str| {
        let line = format!("b,1,2026-01-31T13:00:00Z,{item}");
        orders(&[
            "a,2,2026-01-31T12:00:00Z,2,1",
            "b,1,2026-01-31T13:00:00Z,2,1",
            &line,
            "c,2,2026-01-31T14:00:00Z,2,1",
        ])
    };
    for _ in 0..2 {
        let problem = refused(&dir, "orders", &rows(wrong)).1;
        assert_eq!(problem["code"], code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with("correct it and run it again to continue"), "{detail}");
        // The balance is too small for the order, everything else for its second row.
        let line = if code == "insufficient_balance" { 3 } else { 4 };
        assert_eq!((&problem["line"], &problem["order"]), (&line.into(), &"b".into()), "{problem}");
        assert_eq!(count(&dir, "orders"), 1);
    }
    assert_eq!(import(&dir, "orders", &rows("1,2")), (2, 1));
    assert_eq!(import(&dir, "orders", &rows("1,2")), (0, 3));
    assert_eq!(dir.json("orders show 2")["lines"].as_array().unwrap().len(), 2);
}

#[test]
fn import_order_key_ignores_row_sequence_and_refuses_other_rows() {
    let dir = stocked_dir();
    let at = "2026-01-31T12:00:00Z";
    let file = |items: &[&str]| {
        let rows: Vec<_> = items.iter().map(|item| format!("a,1,{at},{item}")).collect();
        orders(&rows.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(import(&dir, "orders", &file(&["1,2", "2,3"])), (1, 0));
    for same in [&["2,3", "1,2"][..], &["2,1", "1,1", "2,2", "1,1"], &["1,2", "2,3"]] {
        assert_eq!(import(&dir, "orders", &file(same)), (0, 1), "{same:?}");
    }
    for other in [&["1,2", "2,4"][..], &["1,2"], &["1,3", "1,-1", "2,3"]] {
        let problem = refused(&dir, "orders", &file(other)).1;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(problem["code"], "idempotency_key_reused", "{other:?}");
        assert!(detail.contains("line 2, order a: it was imported before"), "{detail}");
        assert!(!detail.contains("import:"), "{detail}");
    }
    assert_eq!(count(&dir, "orders"), 1);
}

/// Thousands of rows are in flight behind the refused one, and each of them is valid.
#[test]
fn import_stops_exactly_at_the_refused_row() {
    let dir = stocked_dir();
    dir.json("product stock 2 4500");
    let mut file = format!("{HEADER}\n");
    for number in 0..3_000 {
        // The corrected order 20 needs the last unit of product 1.
        let item = match number {
            20 => "1,11",
            2_000 => "1,1",
            _ => "2,1",
        };
        let second = number % 60;
        writeln!(file, "o{number},{},2026-01-31T12:00:{second:02}Z,{item}", number % 2 + 1)
            .unwrap();
    }
    dir.json("charge 1 1000000");
    dir.json("charge 2 1000000");
    let (status, problem) = refused(&dir, "orders", &file);
    assert_eq!((status, &problem["line"], &problem["imported"]), (3, &22.into(), &20.into()));
    assert_eq!(count(&dir, "orders"), 20);
    let corrected = file.replace(",1,11", ",1,10");
    let problem = refused(&dir, "orders", &corrected).1;
    assert_eq!((&problem["line"], &problem["order"]), (&2_002.into(), &"o2000".into()));
    assert_eq!(count(&dir, "orders"), 2_000);
}

#[rstest]
#[case("products", "id,name,price,stock", "10,0", "5,1")]
#[case("customers", "id,name,balance", "-1", "5")]
fn import_of_products_and_customers_stops_exactly(
    #[case] what: &str,
    #[case] header: &str,
    #[case] wrong: &str,
    #[case] right: &str,
) {
    let dir = stocked_dir();
    let wrong = if what == "products" { "0,1" } else { wrong };
    let mut file = format!("{header}\r\n\r\n");
    for id in 1..=2_500 {
        write!(file, "{id},Kim,{}\r\n", if id == 50 { wrong } else { right }).unwrap();
    }
    let (status, problem) = refused(&dir, what, &file);
    assert_eq!((status, &problem["line"]), (2, &52.into()), "{problem}");
    assert_eq!((&problem["imported"], &problem["skipped"]), (&47.into(), &2.into()));
    assert_eq!(count(&dir, what), 49);
    let corrected = file.replace(&format!("50,Kim,{wrong}\r"), &format!("50,Kim,{right}\r"));
    assert_eq!(import(&dir, what, &corrected), (2_451, 49));
}

/// Each process stops at its own invalid row, independent of the others.
#[test]
fn concurrent_imports_stop_each_at_its_own_row() {
    let dir = stocked_dir();
    dir.json("charge 1 1000000");
    dir.json("product stock 2 4500");
    let mut children = Vec::new();
    for process in 0..4 {
        let mut file = format!("{HEADER}\n");
        for number in 0..400 {
            let item = if number == 10 + process { "1,11" } else { "2,1" };
            writeln!(file, "p{process}-{number},1,2026-01-31T12:00:00Z,{item}").unwrap();
        }
        let path = dir.0.path().join(format!("{process}.csv"));
        std::fs::write(&path, file).unwrap();
        let mut command = dir.command(&["--json", "import", "orders", path.to_str().unwrap()]);
        children.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    }
    for (process, child) in children.into_iter().enumerate() {
        let output = super::decode(&child.wait_with_output().unwrap());
        let problem: Value = serde_json::from_str(&output.err).unwrap();
        assert_eq!(problem["line"], 12 + process, "{problem}");
        assert_eq!(problem["imported"], 10 + process, "{problem}");
    }
    assert_eq!(count(&dir, "orders"), 10 + 11 + 12 + 13);
}

#[rstest]
#[case::lf("\n", "")]
#[case::crlf("\r\n", "")]
#[case::cr("\r", "")]
#[case::byte_order_mark("\r\n", "\u{feff}")]
fn import_counts_lines_for_every_line_ending(#[case] end: &str, #[case] start: &str) {
    let dir = stocked_dir();
    let at = "2026-01-31T12:00:00Z";
    let lines = |invalid: &str| {
        let rows = ["", &format!("a,1,{at},2,1"), "", "", &format!("b,1,{at},2,1"), invalid];
        format!("{start}{HEADER}{end}{}{end}", rows.join(end))
    };
    for invalid in [
        "b,1,noon,2,1",
        "b,1,1969-12-31T23:59:59Z,2,1",
        "b,1,2026-01-31T23:59:60Z,2,1",
        &format!("b,1,{at},99,1"),
        &format!("b,1,{at},2,0"),
        &format!("b,1,{at},2,99999999999999999999"),
        &format!("b,2,{at},2,1"),
        &format!("c d,1,{at},2,1"),
        &format!("b,1,{at},2"),
        &format!("b,1,{at},2,\"1"),
        &format!("b,1,{at},2,1\""),
    ] {
        let (_, problem) = refused(&dir, "orders", &lines(invalid));
        assert_eq!(problem["line"], 7, "{invalid}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("standard input, line 7"), "{detail}");
        assert!(!detail.contains("import:"), "{detail}");
    }
    // Of each file only the complete orders before the invalid line are imported: `a` always, `b` if the line
    // is not part of it.
    assert_eq!(count(&dir, "orders"), 2);
}

#[rstest]
#[case::in_a_value("1,12\" bowl,100,5", "has a quote after \"12\"")]
#[case::behind_a_value("1,\"12\" bowl\",100,5", "has a quote after \"12\"")]
#[case::never_closed("1,\"bowl,100,5\r\n2,cup,100,5", "begins with a quote that is not closed")]
fn import_refuses_ambiguous_quotes(#[case] row: &str, #[case] message: &str) {
    let dir = TestDir::empty();
    let (status, problem) =
        refused(&dir, "products", &format!("id,name,price,stock\r\n{row}\r\n9,cup,1,1\r\n"));
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!((status, &problem["line"]), (2, &2.into()), "{detail}");
    assert!(detail.contains("line 2: name ") && detail.contains(message), "{detail}");
    assert_eq!(dir.json("product list")["items"], Value::Array(vec![]));
    let right = "id,name,price,stock\r\n1,\"12\"\" bowl, red\",100,5\r\n";
    assert_eq!(import(&dir, "products", right), (1, 0));
    assert_eq!(dir.json("product show 1")["name"], "12\" bowl, red");
}
