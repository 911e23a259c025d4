//! Black-box tests of the binary: in its own directory, with a clean environment, by output and exit status.

mod customers;
mod export;
mod gateway;
mod import;
mod limits;
mod lists;
mod refunds;
mod report;
mod storage;

use rstest::rstest;
use rusqlite::Connection;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A directory, with or without a store.
struct TestDir(TempDir);

/// The output and exit status of a command.
struct CommandOutput {
    status: i32,
    out: String,
    err: String,
}

impl TestDir {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A store in dollars: customer 1 with 100.00, product 1 at 12.50 (10 in stock), product 2 at 0.99.
    fn stocked() -> Self {
        let dir = Self::empty();
        for line in [
            "init --currency USD",
            "customer add Kim",
            "charge 1 10000 --key first",
            "product add Tea 1250 10",
            "product add Gum 99 500",
        ] {
            assert_eq!(dir.run(line).status, 0, "{line}");
        }
        dir
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_commerce"));
        command.current_dir(self.0.path()).env_clear().args(arguments);
        command
    }

    fn run(&self, line: &str) -> CommandOutput {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        decode(&self.command(&arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// The one document that a command prints with `--json`.
    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("--json {line}"));
        assert_eq!(output.status, 0, "{line}: {}", output.err);
        serde_json::from_str(&output.out).unwrap()
    }

    fn run_with_input(&self, line: &str, input: &str) -> CommandOutput {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that stops early closes its stdin; only its output matters.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        decode(&child.wait_with_output().unwrap())
    }
}

fn decode(finished: &Output) -> CommandOutput {
    CommandOutput {
        status: finished.status.code().unwrap_or(-1),
        out: String::from_utf8(finished.stdout.clone()).unwrap(),
        err: String::from_utf8(finished.stderr.clone()).unwrap(),
    }
}

fn week(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/week").join(name).display().to_string()
}

#[test]
fn basic_commands_work_end_to_end() {
    let dir = TestDir::stocked();
    assert_eq!(dir.run("balance 1").out.trim(), "100.00 USD");
    let order = dir.json("order 1 1:2 2 --key order");
    assert_eq!((&order["total"], &order["status"]), (&Value::from(2_599), &Value::from("paid")));
    assert_eq!(dir.json("order 1 1:2 2 --key order"), order, "repeated with its key");
    assert_eq!(dir.json("balance 1")["balance"], 7_401);
    assert_eq!(dir.json("product show 1")["stock"], 8);
    let top = dir.json("top");
    assert_eq!(
        (&top["items"][0]["product_id"], &top["items"][0]["units_sold"]),
        (&1.into(), &2.into())
    );
    assert!(dir.run("top").out.contains('█'));
    dir.json("orders cancel 1");
    assert_eq!(dir.json("balance 1")["balance"], 10_000);
    assert_eq!(dir.json("payments 1")["items"].as_array().unwrap().len(), 2);
    assert_eq!(dir.json("events list")["items"][1]["type"], "order.cancelled");
    assert_eq!(dir.json("audit")["ok"], true);
}

/// Also: a cursor is valid for its own list only.
#[test]
fn json_names_the_currency_of_amounts() {
    let dir = TestDir::stocked();
    dir.json("coupon add Spring --quantity 5 --amount 100");
    dir.json("cart set 1 1 2");
    dir.json("order 1 1:2");
    for line in ["product show 1", "coupon show 1", "cart show 1", "orders show 1", "top"] {
        assert_eq!(dir.json(line)["currency"], "USD", "{line}");
    }
    let lists =
        ["product list", "coupon list", "orders list 1", "ledger 1", "payments 1", "events list"];
    for line in lists {
        assert_eq!(dir.json(line)["items"][0]["currency"], "USD", "{line}");
    }
    let page = dir.json("product list --limit 1");
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(dir.json(&format!("product list --cursor {cursor}"))["items"][0]["id"], 2);
    let other = dir.run(&format!("ledger 1 --cursor {cursor}"));
    assert_eq!((other.status, other.err.contains("cursor")), (2, true), "{}", other.err);
}

#[test]
fn events_relay_retries_parks_and_replays() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:2");
    dir.json("orders cancel 1");
    let deliveries = || {
        let page = dir.json("events list");
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["delivery"]["status"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(deliveries(), ["waiting", "waiting"]);
    // A file in a missing directory: the attempt fails, and the event waits for its retry.
    let failed = dir.run("--json events relay --to file:none/events --once");
    assert_eq!(failed.status, 1, "{}", failed.err);
    let failed: Value = serde_json::from_str(&failed.out).unwrap();
    assert_eq!((&failed["delivered"], &failed["failed"]), (&0.into(), &1.into()));
    assert_eq!(dir.json("events list")["items"][0]["delivery"]["attempts"], 1);
    assert!(dir.run("events list").out.contains("waiting until "));

    // The next run finds no event due, and reports the undelivered ones nevertheless.
    let db = Connection::open(dir.0.path().join("commerce.db")).unwrap();
    let change = |sql| db.execute(sql, []).unwrap();
    let again = || dir.run("--json events relay --to file:events.ndjson --once");
    change("UPDATE deliveries SET due_at = due_at + 1000 WHERE attempts > 0");
    let not_due = again();
    assert_eq!(not_due.status, 1, "{}", not_due.out);
    let report: Value = serde_json::from_str(&not_due.out).unwrap();
    assert_eq!((&report["delivered"], &report["failed"]), (&0.into(), &0.into()));
    assert_eq!(report["waiting"], 2, "the cancellation waits behind the payment");
    let problem: Value = serde_json::from_str(&not_due.err).unwrap();
    assert_eq!((&problem["waiting"], &problem["parked"]), (&2.into(), &0.into()));
    let text = dir.run("events relay --to file:events.ndjson --once");
    assert!(
        text.out.contains("still waiting 2") && text.err.contains("2 still wait"),
        "{}",
        text.err
    );
    change("UPDATE deliveries SET status = 'parked'");
    let parked = again();
    let problem: Value = serde_json::from_str(&parked.err).unwrap();
    assert_eq!((parked.status, &problem["waiting"], &problem["parked"]), (1, &0.into(), &2.into()));

    assert_eq!(dir.json("events replay --from 1")["events"], 2);
    assert_eq!(dir.json("events relay --to file:events.ndjson --once")["delivered"], 2);
    assert_eq!(deliveries(), ["delivered", "delivered"]);
    let lines = fs::read_to_string(dir.0.path().join("events.ndjson")).unwrap();
    let sent: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&sent[0]["type"], &sent[1]["type"]),
        (&"order.paid".into(), &"order.cancelled".into())
    );

    assert_eq!(dir.run("events replay --from 2").out.trim(), "1 event queued to be sent again");
    let output = dir.run("events relay --to - --once");
    assert_eq!((output.status, output.out.lines().count()), (0, 1), "{}", output.err);
    assert!(output.err.contains("delivered 1"), "{}", output.err);
    assert_eq!(dir.run("events retry").out.trim(), "no events to send again");
    assert_eq!(dir.json("events list --parked")["items"], Value::Array(Vec::new()));
    let inside = dir.run("events relay --to https://127.0.0.1/ --once");
    assert_eq!(
        (inside.status, inside.err.contains("--allow-private")),
        (2, true),
        "{}",
        inside.err
    );
    for line in ["retry 99", "retry 1", "replay --from 3"] {
        let output = dir.run(&format!("events {line}"));
        assert_eq!((output.status, output.out.as_str()), (2, ""), "{line}: {}", output.err);
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn unpaid_order_from_cart_with_coupon_is_paid_later() {
    let dir = TestDir::stocked();
    dir.json("cart set 1 1 3");
    dir.json("coupon add Spring --quantity 1 --percent 10 --max 200");
    let owned = dir.json("coupon claim 1 1");
    assert_eq!((&owned["rank"], &owned["status"]), (&1.into(), &"held".into()));
    let order = dir.json("order 1 --cart --coupon 1 --unpaid");
    assert_eq!((&order["discount"], &order["status"]), (&200.into(), &"pending".into()));
    assert_eq!(dir.json("cart show 1")["items"], Value::Array(Vec::new()));
    assert_eq!(dir.json("orders pay 1")["status"], "paid");
    assert_eq!(dir.json("coupon owned 1")["items"][0]["status"], "used");
    assert_eq!(dir.run("orders pay 1").status, 3);
    assert_eq!(dir.json("audit")["ok"], true);
}

/// One sentence on stderr with the next step, an empty stdout, and the exit status of the class of error.
#[rstest]
#[case::no_command("", 2)]
#[case::unknown_command("sell 1", 2)]
#[case::no_number("charge one 5", 2)]
#[case::zero("charge 1 0", 2)]
#[case::negative("charge 1 -5", 2)]
#[case::huge("charge 1 99999999999999999999", 2)]
#[case::beyond_the_limit("charge 1 1000000000001", 2)]
#[case::fraction("charge 1 12.50", 2)]
#[case::no_product("order 1", 2)]
#[case::product_and_cart("order 1 1 --cart", 2)]
#[case::bad_quantity("order 1 1:x", 2)]
#[case::no_units("order 1 1:0", 2)]
#[case::bad_key("charge 1 5 --key \u{e9}", 2)]
#[case::bad_instant("top --at yesterday", 2)]
#[case::no_days("top --days 0", 2)]
#[case::bad_limit("product list --limit 1000", 2)]
#[case::bad_cursor("product list --cursor x", 2)]
#[case::bad_percent("coupon add A --quantity 1 --percent 101", 2)]
#[case::two_discounts("coupon add A --quantity 1 --percent 1 --amount 1", 2)]
#[case::no_server("--database postgres://u:secret@127.0.0.1:1/d balance 1", 1)]
#[case::bad_port("--database postgres://u:secret@h:secret/d balance 1", 2)]
#[case::no_url("--database postgres:/u:secret@h/d init", 2)]
#[case::libpq_string("--database password=secret init", 2)]
#[case::a_signing_secret(
    "events relay --to http://h.example/ --once --secret-file whsec_secret",
    2
)]
#[case::a_key("charge 1 5 --gateway stripe --stripe-key-file sk_test_secret", 2)]
#[case::no_file("import products nowhere.csv", 2)]
#[case::no_customer("charge 9 5", 3)]
#[case::unknown_product("order 1 9", 3)]
#[case::insufficient_balance("order 1 1:9", 3)]
#[case::insufficient_stock("order 1 1:11", 3)]
#[case::unknown_order("orders show 9", 3)]
#[case::not_in_cart("cart remove 1 1", 3)]
#[case::no_coupon("coupon claim 9 1", 3)]
#[case::no_units_to_cancel("orders cancel 1 --item 1:0", 2)]
#[case::bad_units_to_cancel("orders cancel 1 --item 1:x", 2)]
#[case::no_item_to_cancel("orders cancel 1 --item", 2)]
#[case::unknown_rule("coupon add A --quantity 1 --percent 1 --below-minimum lose", 2)]
#[case::zero_refund("charges refund 1 --amount 0", 2)]
#[case::negative_refund("charges refund 1 --amount -5", 2)]
#[case::refund_above_the_charge("charges refund 1 --amount 10001", 3)]
#[case::refund_of_no_charge("charges refund 9", 3)]
#[case::refunds_of_no_charge("charges refunds 9", 3)]
#[case::other_currency("init --currency KRW", 2)]
#[case::no_currency("init --currency ABC", 2)]
#[case::no_store("--database elsewhere.db balance 1", 1)]
#[case::no_source_to_copy("copy --from elsewhere.db --to copy.db", 1)]
fn invalid_input_reports_one_sentence_and_exit_status(#[case] line: &str, #[case] status: i32) {
    let dir = TestDir::stocked();
    let output = dir.run(line);
    assert_eq!((output.status, output.out.as_str()), (status, ""), "{}", output.err);
    assert!(!output.err.trim().is_empty() && !output.err.contains("panicked"), "{}", output.err);
    assert!(!output.err.contains("secret"), "{}", output.err);

    let output = dir.run(&format!("--json {line}"));
    assert_eq!((output.status, output.out.as_str()), (status, ""));
    let problem: Value = serde_json::from_str(&output.err).unwrap();
    for field in ["type", "title", "status", "detail", "code"] {
        assert!(!problem[field].is_null(), "{field} is missing: {problem}");
    }
}

#[rstest]
#[case::unknown(
    "log = \"json\"\nstripe-key = \"sk_test_hunter2\"\n",
    "line 2, stripe-key: unknown field"
)]
#[case::misplaced("gateway = \"sk_test_hunter2\"\n", "line 1, gateway: ")]
#[case::of_another_type("\n\ngrace = \"sk_test_hunter2\"\n", "line 3, grace: ")]
#[case::no_toml("sk_test_hunter2\n", "line 1: ")]
fn config_error_names_the_line_without_its_value(#[case] file: &str, #[case] message: &str) {
    let dir = TestDir::empty();
    fs::write(dir.0.path().join("settings.toml"), file).unwrap();
    let output = dir.run("serve --config settings.toml");
    assert_eq!((output.status, output.err.lines().count()), (2, 1), "{}", output.err);
    assert!(output.err.contains(message) && !output.err.contains("hunter2"), "{}", output.err);
}

#[test]
fn refusal_contains_the_shortages() {
    let dir = TestDir::stocked();
    let output = dir.run("--json order 1 1:11 2:501");
    let problem: Value = serde_json::from_str(&output.err).unwrap();
    assert_eq!(problem["code"], "insufficient_stock");
    let short = serde_json::json!([
        {"product_id": 1, "requested": 11, "available": 10},
        {"product_id": 2, "requested": 501, "available": 500},
    ]);
    assert_eq!(problem["shortages"], short);
    let output = dir.run("order 1 1:9");
    assert!(output.err.contains("charge 12.50 USD more"), "{}", output.err);
}

#[test]
fn simulated_gateway_charge_is_paid_declined_or_pending() {
    let dir = TestDir::stocked();
    let charge = |line: &str| dir.run(&format!("charge 1 {line} --gateway simulated"));
    let paid = charge("500 --key a --payment-method card");
    assert_eq!((paid.status, paid.out.contains("charged 5.00 USD")), (0, true), "{}", paid.out);
    let declined = charge("402402 --key b");
    assert_eq!((declined.status, declined.err.contains("was declined")), (3, true));
    let pending = charge("408408 --key c");
    assert_eq!((pending.status, pending.out.contains("--key c")), (0, true), "{}", pending.out);
    assert!(dir.run("charges pending").out.contains("4,084.08"));
    assert_eq!(dir.json("charges pending")["items"][0]["amount"], 408_408);
    assert_eq!(dir.json("balance 1")["balance"], 10_500);
    let unnamed = dir.run("charges settle");
    assert_eq!((unnamed.status, unnamed.err.contains("--gateway")), (2, true), "{}", unnamed.err);
    // The simulated gateway knows the outcome a second later.
    let mut settled = Value::Null;
    while settled["succeeded"] != 1 {
        settled = dir.json("charges settle --gateway simulated");
    }
    assert_eq!(dir.json("balance 1")["balance"], 418_908);
    let again = dir.json("charge 1 408408 --gateway simulated --key c");
    assert_eq!((&again["status"], &again["balance"]), (&"succeeded".into(), &418_908.into()));
    assert_eq!(dir.run("charge 1 5 --payment-method card").status, 2, "no gateway to collect it");
    assert_eq!(dir.run("audit").status, 0);
}

#[test]
fn gateway_charge_reports_its_generated_key_before_and_while_pending() {
    let dir = TestDir::stocked();
    let output = dir.run("--json charge 1 408408 --gateway simulated");
    let mut lines = output.err.lines();
    let key = lines.next().unwrap().strip_prefix("asking the gateway with --key ").unwrap();
    let pending = lines.next().unwrap();
    assert!(pending.ends_with(&format!(
        "repeat with --key {key}, or run `commerce charges settle` with the same --gateway"
    )));
    assert_eq!((output.status, lines.next()), (0, None));
    let again = dir.json(&format!("charge 1 408408 --gateway simulated --key {key}"));
    assert_eq!(again["id"], serde_json::from_str::<Value>(&output.out).unwrap()["id"]);
    assert_eq!(dir.run("--json charge 1 5 --gateway simulated --key mine").err, "");
    assert_eq!(dir.run("charge 1 5").err, "");
}

#[test]
fn week_import_is_idempotent_and_ranks_as_expected() {
    let dir = TestDir::empty();
    dir.json("init --currency USD");
    let imports =
        [("products", 10_320, 10_320), ("customers", 1_210, 1_210), ("orders", 22_119, 2_319)];
    for (what, rows, count) in imports {
        let line = format!("import {what} {}", week(&format!("{what}.csv")));
        let report = dir.json(&line);
        assert_eq!(report, serde_json::json!({"rows": rows, "imported": count, "skipped": 0}));
        let report = dir.json(&line);
        assert_eq!(report, serde_json::json!({"rows": rows, "imported": 0, "skipped": count}));
    }
    let rankings: Value =
        serde_json::from_str(&fs::read_to_string(week("top5.json")).unwrap()).unwrap();
    for ranking in rankings.as_array().unwrap() {
        let top = dir.json(&format!("top --at {}", ranking["at"].as_str().unwrap()));
        let ranks = top["items"].as_array().unwrap().iter();
        let ranks: Vec<_> = ranks.map(|item| (&item["product_id"], &item["units_sold"])).collect();
        let expected = ranking["top"].as_array().unwrap().iter();
        let expected: Vec<_> = expected.map(|rank| (&rank["product_id"], &rank["units"])).collect();
        assert_eq!(ranks, expected);
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

#[rstest]
#[case::another_head("id,name\n1,a\n", "products", 2)]
#[case::no_number("id,name,price,stock\n1,Tea,cheap,3\n", "products", 2)]
#[case::negative_stock("id,name,price,stock\n1,Tea,5,-3\n", "products", 2)]
#[case::too_few_columns("id,name,price,stock\n1,Tea,5\n", "products", 2)]
#[case::no_instant("order,customer_id,placed_at,product_id,quantity\n7,1,now,1,1\n", "orders", 2)]
#[case::no_customer(
    "order,customer_id,placed_at,product_id,quantity\n7,99,2026-01-01T00:00:00Z,1,1\n",
    "orders",
    3
)]
#[case::too_many(
    "order,customer_id,placed_at,product_id,quantity\n7,1,2026-01-01T00:00:00Z,1,11\n",
    "orders",
    3
)]
fn import_error_names_the_line(#[case] file: &str, #[case] what: &str, #[case] status: i32) {
    let dir = TestDir::stocked();
    let output = dir.run_with_input(&format!("import {what} -"), file);
    assert_eq!(output.status, status, "{}", output.err);
    assert!(output.err.contains("line"), "{}", output.err);
}

#[test]
fn broken_pipe_is_success() {
    let dir = TestDir::stocked();
    for _ in 0..3 {
        let mut command = dir.command(&["product", "list"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = decode(&child.wait_with_output().unwrap());
        assert_eq!((output.status, output.err.as_str()), (0, ""));
    }
}

/// The charge is committed, and only its key gives access to the result.
#[test]
fn unwritable_result_reports_the_generated_key() {
    let dir = TestDir::stocked();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = dir.command(&["--json", "charge", "1", "500"]);
    let lost = decode(&command.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(lost.status, 1, "{}", lost.err);
    let problem: Value = serde_json::from_str(&lost.err).unwrap();
    let key = problem["key"].as_str().unwrap();
    assert_eq!(dir.json(&format!("charge 1 500 --key {key}"))["balance"], 10_500);
    assert_eq!(dir.json("balance 1")["balance"], 10_500);
}

/// A read must not turn an empty file into a store, because that would fix its currency.
#[test]
fn empty_file_is_not_a_store_until_init() {
    let dir = TestDir::empty();
    let file = dir.0.path().join("commerce.db");
    fs::write(&file, "").unwrap();
    for line in ["balance 1", "audit", "backup copy.db", "copy --from commerce.db --to copy.db"] {
        let output = dir.run(line);
        assert_eq!((output.status, output.err.contains("there is no store")), (1, true), "{line}");
        assert_eq!(fs::metadata(&file).unwrap().len(), 0, "{line}");
    }
    assert_eq!(dir.json("init --currency USD")["currency"], "USD");
}

/// No file may grow: neither the write-ahead log nor its index, which every reader needs.
#[test]
fn full_disk_is_reported_when_the_store_is_opened() {
    let dir = TestDir::stocked();
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    for arguments in [["balance", "1"].as_slice(), &["charge", "1", "5"]] {
        let mut shell = Command::new("sh");
        shell.current_dir(dir.0.path()).args(["-c", script, env!("CARGO_BIN_EXE_commerce")]);
        let output = decode(&shell.args(arguments).output().unwrap());
        assert_eq!(
            (output.status, output.err.contains("free some space")),
            (1, true),
            "{}",
            output.err
        );
    }
    assert_eq!(dir.json("balance 1")["balance"], 10_000);
}

#[test]
fn broken_pipe_of_events_relay_is_success_and_keeps_the_events() {
    let dir = TestDir::stocked();
    dir.json("order 1 1");
    for flags in [&["--once"][..], &[]] {
        let mut command = dir.command(&["events", "relay", "--to", "-"]);
        let mut child =
            command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = decode(&child.wait_with_output().unwrap());
        assert_eq!((output.status, output.err.as_str()), (0, ""));
    }
    assert_eq!(dir.json("events relay --to file:events --once")["delivered"], 1);
}

#[rstest]
#[case::itself("commerce.db")]
#[case::another_path("./a/../commerce.db")]
#[case::symbolic_link("link")]
#[case::its_log("commerce.db-wal")]
#[case::its_index("a/../commerce.db-shm")]
#[case::its_lock("commerce.db-lock")]
fn events_destination_cannot_be_a_file_of_the_store(#[case] path: &str) {
    let dir = TestDir::stocked();
    dir.json("order 1 1");
    fs::create_dir(dir.0.path().join("a")).unwrap();
    std::os::unix::fs::symlink("commerce.db", dir.0.path().join("link")).unwrap();
    for line in ["events relay --once --to", "serve --events-to"] {
        let output = dir.run(&format!("{line} file:{path}"));
        assert_eq!(
            (output.status, output.err.contains("part of the store")),
            (2, true),
            "{}",
            output.err
        );
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

/// The rows reported as imported are in the store, and a repeated import adds the rest.
#[test]
fn interrupted_import_continues_when_repeated() {
    let dir = TestDir::empty();
    dir.json("init --currency USD");
    for what in ["products", "customers"] {
        dir.json(&format!("import {what} {}", week(&format!("{what}.csv"))));
    }
    let orders = fs::read_to_string(week("orders.csv")).unwrap();
    let mut command = dir.command(&["--json", "import", "orders", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // The import has half of the file and waits for the rest, so the signal arrives while it runs. The half
    // ends with a complete order, because the import may read the end of the input before the signal.
    let half = end_of_an_order(&orders, orders.len() / 2);
    input.write_all(&orders.as_bytes()[..half]).unwrap();
    interrupt(child.id());
    drop(input);
    let stopped = decode(&child.wait_with_output().unwrap());
    let placed = dir.json("audit")["checked"]["orders"].as_u64().unwrap();
    if stopped.status == 130 {
        let problem: Value = serde_json::from_str(&stopped.err).unwrap_or_default();
        let reported = problem["imported"].as_u64().unwrap_or(0);
        assert!(placed >= reported, "{placed} orders exist and {reported} were reported");
    }
    let rest = dir.json(&format!("import orders {}", week("orders.csv")));
    assert_eq!(rest["skipped"], placed);
    assert_eq!(rest["imported"].as_u64().unwrap() + placed, 2_319);
    assert_eq!(dir.json("audit")["ok"], true);
}

/// The end of the first order that ends after `from`.
fn end_of_an_order(orders: &str, from: usize) -> usize {
    let mut end = orders[..from].rfind('\n').unwrap() + 1;
    let mut lines = orders[end..].split_inclusive('\n');
    let order_of = |line: &str| line.split(',').next().unwrap().to_owned();
    let first = lines.next().unwrap();
    end += first.len();
    end + lines.take_while(|line| order_of(line) == order_of(first)).map(str::len).sum::<usize>()
}

fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap().success());
}

#[test]
fn unreadable_secret_variable_is_an_error() {
    let dir = TestDir::stocked();
    let mut relay = dir.command(&["events", "relay", "--to", "-", "--once"]);
    let output =
        decode(&relay.env("COMMERCE_EVENTS_SECRET", OsStr::from_bytes(b"\xff")).output().unwrap());
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains("COMMERCE_EVENTS_SECRET"), "{}", output.err);
}

/// A variable that lost its value must not change the behaviour of a command.
#[rstest]
#[case::events_secret("COMMERCE_EVENTS_SECRET", "", "events relay --to - --once")]
#[case::blank("COMMERCE_EVENTS_SECRET", " ", "events relay --to - --once")]
#[case::database("COMMERCE_DATABASE", "", "product list")]
#[case::gateway("COMMERCE_GATEWAY", "", "charge 1 10")]
#[case::stripe_key("COMMERCE_STRIPE_KEY", "", "charge 1 10 --gateway stripe")]
#[case::webhook_secret("COMMERCE_STRIPE_WEBHOOK_SECRET", "", "serve --listen 127.0.0.1:0")]
#[case::address("COMMERCE_LISTEN", "", "serve")]
#[case::seconds("COMMERCE_HOLD", "", "serve")]
#[case::file("COMMERCE_CONFIG", "", "serve")]
#[case::destination("COMMERCE_EVENTS_TO", "", "serve")]
#[case::flag("COMMERCE_EVENTS_ALLOW_PRIVATE", "", "serve")]
#[case::unused_here("COMMERCE_GRACE", "", "product list")]
fn empty_variable_is_a_usage_error(
    #[case] variable: &str,
    #[case] value: &str,
    #[case] line: &str,
) {
    let dir = TestDir::stocked();
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = decode(&dir.command(&arguments).env(variable, value).output().unwrap());
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains(&format!("{variable} is set and empty")), "{}", output.err);
}

#[test]
fn help_ignores_empty_variables() {
    let dir = TestDir::empty();
    let output = decode(&dir.command(&["--help"]).env("COMMERCE_DATABASE", "").output().unwrap());
    assert_eq!(output.status, 0, "{}", output.err);
}

#[test]
fn concurrent_commands_create_one_store() {
    let dir = TestDir::empty();
    let add = |number: i32| {
        dir.command(&["customer", "add", &format!("Kim{number}")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..12).map(add).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(dir.json("customer list")["items"].as_array().unwrap().len(), 12);
}

#[test]
fn seed_is_repeatable_and_bench_is_audited() {
    let dir = TestDir::empty();
    let sizes = "seed --products 20 --customers 10 --orders 50 --seed 7";
    let first = dir.json(sizes);
    assert_eq!((&first["products"], &first["orders"]), (&20.into(), &50.into()));
    let other = TestDir::empty();
    other.json(sizes);
    assert_eq!(dir.json("product list"), other.json("product list"));
    let bench = dir.json("bench --orders 300 --clients 4");
    assert_eq!((&bench["orders"], &bench["audit_ok"]), (&300.into(), &true.into()));
    for field in ["orders_per_second", "orders_per_commit", "refused"] {
        assert!(bench[field].is_number(), "{bench}");
    }
    assert!(bench["latency_ms"]["p99"].is_number());
    let left = fs::read_dir(dir.0.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect::<Vec<_>>();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("commerce.db")), "{left:?}");
}

#[test]
fn backup_is_a_store_and_never_overwrites() {
    let dir = TestDir::stocked();
    dir.json("backup copy.db");
    assert_eq!(dir.json("--database copy.db balance 1")["balance"], 10_000);
    assert_eq!(dir.run("backup copy.db").status, 2);
}

/// SQLite would treat such a file as its own, and remove it.
#[rstest]
#[case("commerce.db-journal")]
#[case("commerce.db-wal")]
#[case("./commerce.db-lock")]
fn copy_and_backup_refuse_names_of_store_files(#[case] name: &str) {
    let dir = TestDir::stocked();
    for (line, message) in
        [("backup", "part of the store"), ("copy --from commerce.db --to", "itself")]
    {
        let output = dir.run(&format!("{line} {name}"));
        assert_eq!((output.status, output.err.contains(message)), (2, true), "{}", output.err);
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn completions_and_manual_are_printed() {
    let dir = TestDir::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(dir.run(&format!("completions {shell}")).out.contains("commerce"));
    }
    let manual = dir.run("man").out;
    assert!(BufReader::new(manual.as_bytes()).lines().any(|line| line.unwrap().starts_with(".TH")));
}
