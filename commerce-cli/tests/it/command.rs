//! The binary as people and programs use it: in a folder of its own, with a clean environment, by its
//! output and exit status.

mod gateway;
mod import;
mod limits;
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

/// A folder with a store, or without one yet.
struct Place(TempDir);

/// What a command said.
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A store in dollars: customer 1 with 100.00, product 1 at 12.50 (10 in stock), product 2 at 0.99.
    fn stocked() -> Self {
        let place = Self::empty();
        for line in [
            "init --currency USD",
            "customer add Kim",
            "charge 1 10000 --key first",
            "product add Tea 1250 10",
            "product add Gum 99 500",
        ] {
            assert_eq!(place.run(line).status, 0, "{line}");
        }
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_commerce"));
        command.current_dir(self.0.path()).env_clear().args(arguments);
        command
    }

    fn run(&self, line: &str) -> Said {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        said(&self.command(&arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// The one document that a command prints with `--json`.
    fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("--json {line}"));
        assert_eq!(said.status, 0, "{line}: {}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    fn fed(&self, line: &str, input: &str) -> Said {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that stops early closes its end; what it says is what counts.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        said(&child.wait_with_output().unwrap())
    }
}

fn said(output: &Output) -> Said {
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

fn week(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/week").join(name).display().to_string()
}

#[test]
fn a_day_in_the_shop() {
    let place = Place::stocked();
    assert_eq!(place.run("balance 1").out.trim(), "100.00 USD");
    let order = place.json("order 1 1:2 2 --key order");
    assert_eq!((&order["total"], &order["status"]), (&Value::from(2_599), &Value::from("paid")));
    assert_eq!(place.json("order 1 1:2 2 --key order"), order, "repeated with its key");
    assert_eq!(place.json("balance 1")["balance"], 7_401);
    assert_eq!(place.json("product show 1")["stock"], 8);
    let top = place.json("top");
    assert_eq!(
        (&top["items"][0]["product_id"], &top["items"][0]["units_sold"]),
        (&1.into(), &2.into())
    );
    assert!(place.run("top").out.contains('█'));
    place.json("orders cancel 1");
    assert_eq!(place.json("balance 1")["balance"], 10_000);
    assert_eq!(place.json("payments 1")["items"].as_array().unwrap().len(), 2);
    assert_eq!(place.json("events list")["items"][1]["type"], "order.cancelled");
    assert_eq!(place.json("audit")["ok"], true);
}

/// JSON has the currency beside every amount, and a cursor is good for its own list only.
#[test]
fn the_json_of_amounts_names_their_currency() {
    let place = Place::stocked();
    place.json("coupon add Spring --quantity 5 --amount 100");
    place.json("cart set 1 1 2");
    place.json("order 1 1:2");
    for line in ["product show 1", "coupon show 1", "cart show 1", "orders show 1", "top"] {
        assert_eq!(place.json(line)["currency"], "USD", "{line}");
    }
    let lists =
        ["product list", "coupon list", "orders list 1", "ledger 1", "payments 1", "events list"];
    for line in lists {
        assert_eq!(place.json(line)["items"][0]["currency"], "USD", "{line}");
    }
    let page = place.json("product list --limit 1");
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(place.json(&format!("product list --cursor {cursor}"))["items"][0]["id"], 2);
    let other = place.run(&format!("ledger 1 --cursor {cursor}"));
    assert_eq!((other.status, other.err.contains("cursor")), (2, true), "{}", other.err);
}

#[test]
fn events_are_told_given_up_and_told_again() {
    let place = Place::stocked();
    place.json("order 1 1:2");
    place.json("orders cancel 1");
    let deliveries = || {
        let page = place.json("events list");
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["delivery"]["status"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(deliveries(), ["waiting", "waiting"]);
    // A file where there is no folder: it fails, and the event waits for its next try.
    let failed = place.run("--json events relay --to file:none/events --once");
    assert_eq!(failed.status, 1, "{}", failed.err);
    let failed: Value = serde_json::from_str(&failed.out).unwrap();
    assert_eq!((&failed["delivered"], &failed["failed"]), (&0.into(), &1.into()));
    assert_eq!(place.json("events list")["items"][0]["delivery"]["attempts"], 1);
    assert!(place.run("events list").out.contains("waiting until "));

    // The next run finds nothing that is due, and events that have not arrived all the same.
    let db = Connection::open(place.0.path().join("commerce.db")).unwrap();
    let change = |sql| db.execute(sql, []).unwrap();
    let again = || place.run("--json events relay --to file:events.ndjson --once");
    change("UPDATE deliveries SET due_at = due_at + 1000 WHERE attempts > 0");
    let nothing_due = again();
    assert_eq!(nothing_due.status, 1, "{}", nothing_due.out);
    let report: Value = serde_json::from_str(&nothing_due.out).unwrap();
    assert_eq!((&report["delivered"], &report["failed"]), (&0.into(), &0.into()));
    assert_eq!(report["waiting"], 2, "the cancellation waits behind the payment");
    let problem: Value = serde_json::from_str(&nothing_due.err).unwrap();
    assert_eq!((&problem["waiting"], &problem["parked"]), (&2.into(), &0.into()));
    let text = place.run("events relay --to file:events.ndjson --once");
    assert!(
        text.out.contains("still waiting 2") && text.err.contains("2 still wait"),
        "{}",
        text.err
    );
    change("UPDATE deliveries SET status = 'parked'");
    let parked = again();
    let problem: Value = serde_json::from_str(&parked.err).unwrap();
    assert_eq!((parked.status, &problem["waiting"], &problem["parked"]), (1, &0.into(), &2.into()));

    assert_eq!(place.json("events replay --from 1")["events"], 2);
    assert_eq!(place.json("events relay --to file:events.ndjson --once")["delivered"], 2);
    assert_eq!(deliveries(), ["delivered", "delivered"]);
    let lines = fs::read_to_string(place.0.path().join("events.ndjson")).unwrap();
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&told[0]["type"], &told[1]["type"]),
        (&"order.paid".into(), &"order.cancelled".into())
    );

    assert_eq!(place.run("events replay --from 2").out.trim(), "1 event is to be sent again");
    let said = place.run("events relay --to - --once");
    assert_eq!((said.status, said.out.lines().count()), (0, 1), "{}", said.err);
    assert!(said.err.contains("delivered 1"), "{}", said.err);
    assert_eq!(place.run("events retry").out.trim(), "there is nothing to send again");
    assert_eq!(place.json("events list --parked")["items"], Value::Array(Vec::new()));
    let inside = place.run("events relay --to https://127.0.0.1/ --once");
    assert_eq!(
        (inside.status, inside.err.contains("--allow-private")),
        (2, true),
        "{}",
        inside.err
    );
    for line in ["retry 99", "retry 1", "replay --from 3"] {
        let said = place.run(&format!("events {line}"));
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{line}: {}", said.err);
    }
    assert_eq!(place.json("audit")["ok"], true);
}

#[test]
fn a_cart_a_coupon_and_an_order_paid_later() {
    let place = Place::stocked();
    place.json("cart set 1 1 3");
    place.json("coupon add Spring --quantity 1 --percent 10 --max 200");
    let owned = place.json("coupon claim 1 1");
    assert_eq!((&owned["rank"], &owned["status"]), (&1.into(), &"held".into()));
    let order = place.json("order 1 --cart --coupon 1 --unpaid");
    assert_eq!((&order["discount"], &order["status"]), (&200.into(), &"pending".into()));
    assert_eq!(place.json("cart show 1")["items"], Value::Array(Vec::new()));
    assert_eq!(place.json("orders pay 1")["status"], "paid");
    assert_eq!(place.json("coupon owned 1")["items"][0]["status"], "used");
    assert_eq!(place.run("orders pay 1").status, 3);
    assert_eq!(place.json("audit")["ok"], true);
}

/// What people get wrong: one sentence on stderr that tells what to do, nothing on stdout, and the
/// status that says whose fault it is.
#[rstest]
#[case::no_command("", 2)]
#[case::unknown_command("sell 1", 2)]
#[case::no_number("charge one 5", 2)]
#[case::nothing("charge 1 0", 2)]
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
#[case::words_of_libpq("--database password=secret init", 2)]
#[case::a_signing_secret(
    "events relay --to http://h.example/ --once --secret-file whsec_secret",
    2
)]
#[case::a_key("charge 1 5 --gateway stripe --stripe-key-file sk_test_secret", 2)]
#[case::no_file("import products nowhere.csv", 2)]
#[case::nobody("charge 9 5", 3)]
#[case::no_such_product("order 1 9", 3)]
#[case::too_dear("order 1 1:9", 3)]
#[case::too_few("order 1 1:11", 3)]
#[case::no_such_order("orders show 9", 3)]
#[case::not_in_cart("cart remove 1 1", 3)]
#[case::no_coupon("coupon claim 9 1", 3)]
#[case::other_currency("init --currency KRW", 2)]
#[case::no_currency("init --currency ABC", 2)]
#[case::no_store("--database elsewhere.db balance 1", 1)]
#[case::nothing_to_copy("copy --from elsewhere.db --to copy.db", 1)]
fn wrong_input_gets_a_sentence(#[case] line: &str, #[case] status: i32) {
    let place = Place::stocked();
    let said = place.run(line);
    assert_eq!((said.status, said.out.as_str()), (status, ""), "{}", said.err);
    assert!(!said.err.trim().is_empty() && !said.err.contains("panicked"), "{}", said.err);
    assert!(!said.err.contains("secret"), "{}", said.err);

    let said = place.run(&format!("--json {line}"));
    assert_eq!((said.status, said.out.as_str()), (status, ""));
    let problem: Value = serde_json::from_str(&said.err).unwrap();
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
fn a_wrong_line_of_the_settings_is_named_and_not_shown(#[case] file: &str, #[case] told: &str) {
    let place = Place::empty();
    fs::write(place.0.path().join("settings.toml"), file).unwrap();
    let said = place.run("serve --config settings.toml");
    assert_eq!((said.status, said.err.lines().count()), (2, 1), "{}", said.err);
    assert!(said.err.contains(told) && !said.err.contains("hunter2"), "{}", said.err);
}

#[test]
fn a_refusal_has_the_numbers_to_act_on() {
    let place = Place::stocked();
    let said = place.run("--json order 1 1:11 2:501");
    let problem: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(problem["code"], "insufficient_stock");
    let short = serde_json::json!([
        {"product_id": 1, "requested": 11, "available": 10},
        {"product_id": 2, "requested": 501, "available": 500},
    ]);
    assert_eq!(problem["shortages"], short);
    let said = place.run("order 1 1:9");
    assert!(said.err.contains("charge 12.50 USD more"), "{}", said.err);
}

#[test]
fn a_charge_by_way_of_a_gateway_is_paid_declined_or_pending() {
    let place = Place::stocked();
    let charge = |line: &str| place.run(&format!("charge 1 {line} --gateway simulated"));
    let paid = charge("500 --key a --payment-method card");
    assert_eq!((paid.status, paid.out.contains("charged 5.00 USD")), (0, true), "{}", paid.out);
    let declined = charge("402402 --key b");
    assert_eq!((declined.status, declined.err.contains("was declined")), (3, true));
    let pending = charge("408408 --key c");
    assert_eq!((pending.status, pending.out.contains("--key c")), (0, true), "{}", pending.out);
    assert!(place.run("charges pending").out.contains("4,084.08"));
    assert_eq!(place.json("charges pending")["items"][0]["amount"], 408_408);
    assert_eq!(place.json("balance 1")["balance"], 10_500);
    let unnamed = place.run("charges settle");
    assert_eq!((unnamed.status, unnamed.err.contains("--gateway")), (2, true), "{}", unnamed.err);
    // The simulated gateway knows more a second later.
    let mut settled = Value::Null;
    while settled["succeeded"] != 1 {
        settled = place.json("charges settle --gateway simulated");
    }
    assert_eq!(place.json("balance 1")["balance"], 418_908);
    let again = place.json("charge 1 408408 --gateway simulated --key c");
    assert_eq!((&again["status"], &again["balance"]), (&"succeeded".into(), &418_908.into()));
    assert_eq!(place.run("charge 1 5 --payment-method card").status, 2, "nobody takes it there");
    assert_eq!(place.run("audit").status, 0);
}

#[test]
fn a_key_that_was_made_up_is_told_before_the_gateway_is_asked_and_while_it_is_pending() {
    let place = Place::stocked();
    let said = place.run("--json charge 1 408408 --gateway simulated");
    let mut told = said.err.lines();
    let key = told.next().unwrap().strip_prefix("asking the gateway with --key ").unwrap();
    let pending = told.next().unwrap();
    assert!(
        pending.ends_with(&format!("ask again with --key {key}, or with commerce charges settle"))
    );
    assert_eq!((said.status, told.next()), (0, None));
    let again = place.json(&format!("charge 1 408408 --gateway simulated --key {key}"));
    assert_eq!(again["id"], serde_json::from_str::<Value>(&said.out).unwrap()["id"]);
    assert_eq!(place.run("--json charge 1 5 --gateway simulated --key mine").err, "");
    assert_eq!(place.run("charge 1 5").err, "");
}

#[test]
fn the_week_is_imported_once_and_ranks_as_known() {
    let place = Place::empty();
    place.json("init --currency USD");
    let imports =
        [("products", 10_320, 10_320), ("customers", 1_210, 1_210), ("orders", 22_119, 2_319)];
    for (what, rows, count) in imports {
        let line = format!("import {what} {}", week(&format!("{what}.csv")));
        let told = place.json(&line);
        assert_eq!(told, serde_json::json!({"rows": rows, "imported": count, "skipped": 0}));
        let told = place.json(&line);
        assert_eq!(told, serde_json::json!({"rows": rows, "imported": 0, "skipped": count}));
    }
    let known: Value =
        serde_json::from_str(&fs::read_to_string(week("top5.json")).unwrap()).unwrap();
    for known in known.as_array().unwrap() {
        let top = place.json(&format!("top --at {}", known["at"].as_str().unwrap()));
        let ranks = top["items"].as_array().unwrap().iter();
        let ranks: Vec<_> = ranks.map(|item| (&item["product_id"], &item["units_sold"])).collect();
        let wanted = known["top"].as_array().unwrap().iter();
        let wanted: Vec<_> = wanted.map(|rank| (&rank["product_id"], &rank["units"])).collect();
        assert_eq!(ranks, wanted);
    }
    assert_eq!(place.json("audit")["ok"], true);
}

#[rstest]
#[case::another_head("id,name\n1,a\n", "products", 2)]
#[case::no_number("id,name,price,stock\n1,Tea,cheap,3\n", "products", 2)]
#[case::negative_stock("id,name,price,stock\n1,Tea,5,-3\n", "products", 2)]
#[case::too_few_columns("id,name,price,stock\n1,Tea,5\n", "products", 2)]
#[case::no_instant("order,customer_id,placed_at,product_id,quantity\n7,1,now,1,1\n", "orders", 2)]
#[case::nobody(
    "order,customer_id,placed_at,product_id,quantity\n7,99,2026-01-01T00:00:00Z,1,1\n",
    "orders",
    3
)]
#[case::too_many(
    "order,customer_id,placed_at,product_id,quantity\n7,1,2026-01-01T00:00:00Z,1,11\n",
    "orders",
    3
)]
fn a_file_that_is_wrong_is_told_by_its_line(
    #[case] file: &str,
    #[case] what: &str,
    #[case] status: i32,
) {
    let place = Place::stocked();
    let said = place.fed(&format!("import {what} -"), file);
    assert_eq!(said.status, status, "{}", said.err);
    assert!(said.err.contains("line"), "{}", said.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::stocked();
    for _ in 0..3 {
        let mut command = place.command(&["product", "list"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = said(&child.wait_with_output().unwrap());
        assert_eq!((said.status, said.err.as_str()), (0, ""));
    }
}

/// The money has moved, and only the key shows what came of it.
#[test]
fn an_answer_that_cannot_be_written_tells_the_key_that_was_made_up() {
    let place = Place::stocked();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["--json", "charge", "1", "500"]);
    let lost = said(&command.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(lost.status, 1, "{}", lost.err);
    let problem: Value = serde_json::from_str(&lost.err).unwrap();
    let key = problem["key"].as_str().unwrap();
    assert_eq!(place.json(&format!("charge 1 500 --key {key}"))["balance"], 10_500);
    assert_eq!(place.json("balance 1")["balance"], 10_500);
}

/// Nobody can be given a currency by another one's look at a file that is about to become a store.
#[test]
fn an_empty_file_is_no_store_until_one_is_made_of_it() {
    let place = Place::empty();
    let file = place.0.path().join("commerce.db");
    fs::write(&file, "").unwrap();
    for line in ["balance 1", "audit", "backup copy.db", "copy --from commerce.db --to copy.db"] {
        let said = place.run(line);
        assert_eq!((said.status, said.err.contains("there is no store")), (1, true), "{line}");
        assert_eq!(fs::metadata(&file).unwrap().len(), 0, "{line}");
    }
    assert_eq!(place.json("init --currency USD")["currency"], "USD");
}

/// No file may grow: neither the log of the store nor its index, which every reader wants.
#[test]
fn a_full_disk_is_told_as_one_when_the_store_is_opened() {
    let place = Place::stocked();
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    for arguments in [["balance", "1"].as_slice(), &["charge", "1", "5"]] {
        let mut shell = Command::new("sh");
        shell.current_dir(place.0.path()).args(["-c", script, env!("CARGO_BIN_EXE_commerce")]);
        let said = said(&shell.args(arguments).output().unwrap());
        assert_eq!((said.status, said.err.contains("free some space")), (1, true), "{}", said.err);
    }
    assert_eq!(place.json("balance 1")["balance"], 10_000);
}

#[test]
fn a_reader_of_events_that_goes_away_is_no_error_and_has_them_kept() {
    let place = Place::stocked();
    place.json("order 1 1");
    for flags in [&["--once"][..], &[]] {
        let mut command = place.command(&["events", "relay", "--to", "-"]);
        let mut child =
            command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = said(&child.wait_with_output().unwrap());
        assert_eq!((said.status, said.err.as_str()), (0, ""));
    }
    assert_eq!(place.json("events relay --to file:events --once")["delivered"], 1);
}

#[rstest]
#[case::itself("commerce.db")]
#[case::by_another_way("./a/../commerce.db")]
#[case::by_a_link("link")]
#[case::its_log("commerce.db-wal")]
#[case::its_index("a/../commerce.db-shm")]
#[case::its_lock("commerce.db-lock")]
fn events_are_not_told_into_the_store(#[case] path: &str) {
    let place = Place::stocked();
    place.json("order 1 1");
    fs::create_dir(place.0.path().join("a")).unwrap();
    std::os::unix::fs::symlink("commerce.db", place.0.path().join("link")).unwrap();
    for line in ["events relay --once --to", "serve --events-to"] {
        let said = place.run(&format!("{line} file:{path}"));
        assert_eq!(
            (said.status, said.err.contains("part of the store")),
            (2, true),
            "{}",
            said.err
        );
    }
    assert_eq!(place.json("audit")["ok"], true);
}

/// Ctrl-C in an import: what was reported done is there, and running it again goes on to the end.
#[test]
fn an_import_that_is_interrupted_goes_on() {
    let place = Place::empty();
    place.json("init --currency USD");
    for what in ["products", "customers"] {
        place.json(&format!("import {what} {}", week(&format!("{what}.csv"))));
    }
    let orders = fs::read_to_string(week("orders.csv")).unwrap();
    let mut command = place.command(&["--json", "import", "orders", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Half of the file is in its hands, the rest never comes: it is certainly at work. The half ends
    // with an order, since the end of the input may be read before the signal arrives.
    let half = end_of_an_order(&orders, orders.len() / 2);
    input.write_all(&orders.as_bytes()[..half]).unwrap();
    interrupt(child.id());
    drop(input);
    let stopped = said(&child.wait_with_output().unwrap());
    let placed = place.json("audit")["checked"]["orders"].as_u64().unwrap();
    if stopped.status == 130 {
        let problem: Value = serde_json::from_str(&stopped.err).unwrap_or_default();
        let reported = problem["imported"].as_u64().unwrap_or(0);
        assert!(placed >= reported, "{placed} are there and {reported} were reported");
    }
    let rest = place.json(&format!("import orders {}", week("orders.csv")));
    assert_eq!(rest["skipped"], placed);
    assert_eq!(rest["imported"].as_u64().unwrap() + placed, 2_319);
    assert_eq!(place.json("audit")["ok"], true);
}

/// Where the first order ends that ends after `from`.
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
fn a_secret_that_cannot_be_read_is_not_taken_for_none() {
    let place = Place::stocked();
    let mut relay = place.command(&["events", "relay", "--to", "-", "--once"]);
    let said =
        said(&relay.env("COMMERCE_EVENTS_SECRET", OsStr::from_bytes(b"\xff")).output().unwrap());
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains("COMMERCE_EVENTS_SECRET"), "{}", said.err);
}

/// A variable that lost its value must not change what a command does.
#[rstest]
#[case::secret_of_events("COMMERCE_EVENTS_SECRET", "", "events relay --to - --once")]
#[case::blank("COMMERCE_EVENTS_SECRET", " ", "events relay --to - --once")]
#[case::database("COMMERCE_DATABASE", "", "product list")]
#[case::gateway("COMMERCE_GATEWAY", "", "charge 1 10")]
#[case::stripe_key("COMMERCE_STRIPE_KEY", "", "charge 1 10 --gateway stripe")]
#[case::secret_of_notices("COMMERCE_STRIPE_WEBHOOK_SECRET", "", "serve --listen 127.0.0.1:0")]
#[case::address("COMMERCE_LISTEN", "", "serve")]
#[case::seconds("COMMERCE_HOLD", "", "serve")]
#[case::file("COMMERCE_CONFIG", "", "serve")]
#[case::destination("COMMERCE_EVENTS_TO", "", "serve")]
#[case::flag("COMMERCE_EVENTS_ALLOW_PRIVATE", "", "serve")]
#[case::unused_here("COMMERCE_GRACE", "", "product list")]
fn an_empty_variable_is_wrong_usage(
    #[case] variable: &str,
    #[case] value: &str,
    #[case] line: &str,
) {
    let place = Place::stocked();
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let said = said(&place.command(&arguments).env(variable, value).output().unwrap());
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains(&format!("{variable} is set and empty")), "{}", said.err);
}

#[test]
fn help_does_not_depend_on_variables() {
    let place = Place::empty();
    let said = said(&place.command(&["--help"]).env("COMMERCE_DATABASE", "").output().unwrap());
    assert_eq!(said.status, 0, "{}", said.err);
}

#[test]
fn several_commands_at_once_make_and_use_one_store() {
    let place = Place::empty();
    let add = |number: i32| {
        place
            .command(&["customer", "add", &format!("Kim{number}")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..12).map(add).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(place.json("customer list")["items"].as_array().unwrap().len(), 12);
}

#[test]
fn seed_is_repeatable_and_bench_ends_with_an_audit() {
    let place = Place::empty();
    let sizes = "seed --products 20 --customers 10 --orders 50 --seed 7";
    let first = place.json(sizes);
    assert_eq!((&first["products"], &first["orders"]), (&20.into(), &50.into()));
    let other = Place::empty();
    other.json(sizes);
    assert_eq!(place.json("product list"), other.json("product list"));
    let bench = place.json("bench --orders 300 --clients 4");
    assert_eq!((&bench["orders"], &bench["audit_ok"]), (&300.into(), &true.into()));
    for field in ["orders_per_second", "orders_per_commit", "refused"] {
        assert!(bench[field].is_number(), "{bench}");
    }
    assert!(bench["latency_ms"]["p99"].is_number());
    let left = fs::read_dir(place.0.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect::<Vec<_>>();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("commerce.db")), "{left:?}");
}

#[test]
fn a_backup_is_a_store_and_never_overwrites() {
    let place = Place::stocked();
    place.json("backup copy.db");
    assert_eq!(place.json("--database copy.db balance 1")["balance"], 10_000);
    assert_eq!(place.run("backup copy.db").status, 2);
}

/// SQLite would take it for its own, and remove it.
#[rstest]
#[case("commerce.db-journal")]
#[case("commerce.db-wal")]
#[case("./commerce.db-lock")]
fn no_copy_is_named_as_a_part_of_the_store(#[case] name: &str) {
    let place = Place::stocked();
    for (line, told) in
        [("backup", "part of the store"), ("copy --from commerce.db --to", "itself")]
    {
        let said = place.run(&format!("{line} {name}"));
        assert_eq!((said.status, said.err.contains(told)), (2, true), "{}", said.err);
    }
    assert_eq!(place.json("audit")["ok"], true);
}

#[test]
fn completions_and_the_manual_are_printed() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&format!("completions {shell}")).out.contains("commerce"));
    }
    let manual = place.run("man").out;
    assert!(BufReader::new(manual.as_bytes()).lines().any(|line| line.unwrap().starts_with(".TH")));
}
