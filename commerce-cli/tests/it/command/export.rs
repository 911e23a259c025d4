//! Exports: round trips through import, files of one snapshot, cut pipes and full disks.

use super::{TestDir, decode};
use crate::http::server::wait_until;
use rstest::rstest;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

const WEEK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/week");

impl TestDir {
    fn import(&self, database: &str, kind: &str, file: &str) -> Value {
        self.json(&format!("--database {database} import {kind} {file}"))
    }

    /// Returns the lines of an export below its header.
    fn exported(&self, database: &str, line: &str) -> Vec<String> {
        let output = self.run(&format!("--database {database} export {line}"));
        assert_eq!((output.status, output.err.as_str()), (0, ""), "{line}");
        output.out.lines().skip(1).map(str::to_owned).collect()
    }

    /// Asserts that two stores have the same products, customers and rankings.
    fn assert_same(&self, one: &str, other: &str, instants: &[&str]) {
        for kind in ["products", "customers"] {
            assert_eq!(self.exported(one, kind), self.exported(other, kind), "{kind}");
        }
        for at in instants {
            let top = |database| {
                let line = format!("--database {database} top --limit 100 --days 30 --at {at}");
                self.json(&line)["items"].clone()
            };
            assert_eq!(top(one), top(other), "{at}");
        }
        for database in [one, other] {
            assert_eq!(self.json(&format!("--database {database} audit"))["ok"], true);
        }
    }
}

#[test]
fn exported_week_gives_the_same_balances_stock_and_rankings() {
    let dir = TestDir::empty();
    for database in ["one.db", "two.db"] {
        dir.run(&format!("--database {database} init --currency USD"));
        dir.import(database, "products", &format!("{WEEK}/products.csv"));
    }
    dir.import("one.db", "customers", &format!("{WEEK}/customers.csv"));
    // With the instants at which they were added.
    dir.json("--database one.db export customers --output customers.csv");
    dir.import("two.db", "customers", "customers.csv");
    let imported = dir.import("one.db", "orders", &format!("{WEEK}/orders.csv"));
    dir.json("--database one.db export orders --output orders.csv");
    assert_eq!(dir.import("two.db", "orders", "orders.csv"), imported);
    let instants = ["2017-11-24T20:00:00Z", "2017-11-27T03:00:00Z", "2017-12-01T00:00:00Z"];
    dir.assert_same("one.db", "two.db", &instants);
    let orders = |database| dir.exported(database, "orders");
    assert_eq!(orders("one.db"), orders("two.db"));
    let again = dir.import("two.db", "orders", "orders.csv");
    assert_eq!((&again["imported"], &again["skipped"]), (&0.into(), &imported["imported"]));
    // The columns of an import, and the same rows as in the file it came from.
    let week = fs::read_to_string(format!("{WEEK}/orders.csv")).unwrap();
    let exported = fs::read_to_string(dir.0.path().join("orders.csv")).unwrap();
    let first_five = |line: &str| line.split(',').take(5).collect::<Vec<_>>().join(",");
    assert!(week.lines().map(first_five).eq(exported.lines().map(first_five)));
}

/// Orders with another price and name than today, with a coupon, cancelled, unpaid and paid later; names that are
/// formulas; a debit and an adjustment.
#[test]
fn store_before_its_orders_is_imported_with_them() {
    let dir = TestDir::stocked();
    for line in [
        "order 1 1:2 2:3",
        "coupon add Spring --quantity 5 --percent 33",
        "coupon claim 1 1",
        "order 1 1 2:7 --coupon 1",
        "product update 2 --name =Gum --price 105",
        "order 1 2:4",
        "orders cancel 3",
        "customer add @Lee",
        "charge 2 700",
        "order 2 2 --unpaid",
        "orders pay 4",
        "order 2 1 --unpaid",
        "debit 1 11",
        "product stock 2 -13",
    ] {
        let output = dir.run(line);
        assert_eq!(output.status, 0, "{line}: {}", output.err);
    }
    let line = "export products customers orders --before-orders --raw --into set";
    let report = dir.json(line);
    let rows: Vec<_> = report["files"].as_array().unwrap().iter().map(|f| &f["rows"]).collect();
    assert_eq!(rows, [2, 2, 7]);
    assert_eq!(dir.run("--database two.db init --currency USD").status, 0);
    for kind in ["products", "customers", "orders"] {
        let imported = dir.import("two.db", kind, &format!("set/{kind}.csv"));
        let (count, left_out) =
            if kind == "orders" { (3, Value::from(2)) } else { (2, Value::Null) };
        assert_eq!((&imported["imported"], &imported["left_out"]), (&count.into(), &left_out));
    }
    // The pending order holds one unit, in the first store only.
    dir.json("orders cancel 5");
    dir.assert_same("commerce.db", "two.db", &["2100-01-01T00:00:00Z"]);
    let order = dir.json("--database two.db orders show 2");
    assert_eq!((&order["discount"], &order["reference"]), (&641.into(), &"id:2".into()));
    let names: Vec<_> = order["lines"].as_array().unwrap().iter().map(|l| &l["name"]).collect();
    assert_eq!(names, ["Tea", "Gum"]);
    assert_eq!(dir.json("--database two.db orders show 3")["lines"][0]["name"], "=Gum");
}

/// Orders without a reference, and ones with the id of another order as reference, also in the form of a name by id.
#[test]
fn imported_orders_of_a_customer_never_share_a_name() {
    let dir = TestDir::stocked();
    for line in ["1 1", "1 1 --reference 1", "1 1 --reference id:1", "1 1 --reference id:x"] {
        dir.json(&format!("order {line}"));
    }
    let expected = ["id:1", "1", "id:3", "id:x"];
    for (from, to) in [("commerce.db", "two.db"), ("two.db", "three.db")] {
        let set = format!("{to}.set");
        let kinds = "products customers orders --before-orders --raw";
        dir.json(&format!("--database {from} export {kinds} --into {set}"));
        dir.json(&format!("--database {to} init --currency USD"));
        for kind in ["products", "customers", "orders"] {
            dir.import(to, kind, &format!("{set}/{kind}.csv"));
        }
        let again = dir.import(to, "orders", &format!("{set}/orders.csv"));
        assert_eq!((&again["imported"], &again["skipped"]), (&0.into(), &4.into()));
        let reference =
            |order| dir.json(&format!("--database {to} orders show {order}"))["reference"].clone();
        assert_eq!([1, 2, 3, 4].map(reference), expected);
    }
}

/// An order during a sale, and one after it.
#[test]
fn imported_lines_keep_both_prices() {
    let dir = TestDir::stocked();
    dir.json("product update 1 --sale-price 1000");
    dir.json("order 1 1:2 2");
    dir.json("product update 1 --no-sale --price 1300");
    dir.json("order 1 1");
    dir.json("export products customers orders --before-orders --raw --into set");
    dir.json("--database two.db init --currency USD");
    for kind in ["products", "customers", "orders"] {
        dir.import("two.db", kind, &format!("set/{kind}.csv"));
    }
    for order in [1, 2] {
        let lines = |database: &str| {
            dir.json(&format!("--database {database} orders show {order}"))["lines"].clone()
        };
        assert_eq!(lines("two.db"), lines("commerce.db"));
    }
    let sold = dir.json("--database two.db orders show 1")["lines"][0].clone();
    assert_eq!((&sold["unit_price"], &sold["regular_price"]), (&1_000.into(), &1_250.into()));
    assert_eq!(dir.json("--database two.db audit")["ok"], true);
}

#[test]
fn stock_that_is_left_is_too_small_for_exported_orders() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:6");
    dir.json("export products customers orders --into set");
    for kind in ["products", "customers"] {
        dir.import("two.db", kind, &format!("set/{kind}.csv"));
    }
    let output = dir.run("--database two.db import orders set/orders.csv");
    assert_eq!(output.status, 3);
    assert!(output.err.contains("set/orders.csv, line 2, order id:1: "), "{}", output.err);
    assert!(
        output.err.contains("--before-orders has the stock and the balances"),
        "{}",
        output.err
    );
}

#[rstest]
#[case::unknown_status("1,1,2026-01-31T12:00:00Z,1,1,lost", "must be paid, pending")]
#[case::no_status("1,1,2026-01-31T12:00:00Z,1,1", "there are 5 values and 6 columns")]
fn import_refuses_wrong_rows_of_an_export(#[case] row: &str, #[case] message: &str) {
    let dir = TestDir::stocked();
    let file = format!("order,customer_id,placed_at,product_id,quantity,status\n{row}\n");
    let output = dir.run_with_input("import orders -", &file);
    assert_eq!(output.status, 2);
    assert!(output.err.contains(message), "{}", output.err);
}

#[test]
fn files_of_a_directory_agree_and_replace_older_ones() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:2");
    let set = dir.0.path().join("set");
    fs::create_dir(&set).unwrap();
    fs::write(set.join("products.ndjson"), "old").unwrap();
    let report = dir.json("export all --format ndjson --into set");
    let mut names: Vec<_> =
        fs::read_dir(&set).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    let mut kinds: Vec<String> = Vec::new();
    for file in report["files"].as_array().unwrap() {
        let text = fs::read_to_string(dir.0.path().join(file["file"].as_str().unwrap())).unwrap();
        assert_eq!(text.lines().count(), usize::try_from(file["rows"].as_u64().unwrap()).unwrap());
        kinds.push(format!("{}.ndjson", file["kind"].as_str().unwrap()));
    }
    kinds.sort();
    assert!(kinds.iter().eq(names.iter().map(|name| name.to_str().unwrap())), "{names:?}");
    let order: Value =
        serde_json::from_str(&fs::read_to_string(set.join("orders.ndjson")).unwrap()).unwrap();
    assert_eq!(order, dir.json("orders show 1"));
}

#[test]
fn window_has_days_of_the_shop_and_leaves_lists_whole() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:2");
    let rows = |line: &str| dir.exported("commerce.db", line).len();
    assert_eq!((rows("orders --from 2020-01-01"), rows("orders --to 2020-01-01")), (1, 0));
    assert_eq!(rows("ledger --from 2020-01-01T00:00:00Z"), 2);
    let output = dir.run("export products --to 2020-01-01");
    assert_eq!(output.out.lines().count(), 3);
    assert!(output.err.contains("products are exported whole, whatever the window"));
    let times = ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
    for (from, to) in [("2020-01-02", "2020-01-01"), times] {
        let output = dir.run(&format!("export orders --from {from} --to {to}"));
        let message = format!("--from is {from} and must be before the end of --to, which is {to}");
        assert_eq!((output.status, output.out.as_str()), (2, ""));
        assert!(output.err.contains(&message), "{}", output.err);
    }
}

#[rstest]
#[case("export", "required arguments were not provided")]
#[case("export sales", "invalid value 'sales'")]
#[case("export orders lines", "several kinds need a directory")]
#[case("export all --output file", "several kinds need a directory")]
#[case("--json export orders", "--json prints one document")]
#[case("export orders --before-orders", "for products and customers only")]
#[case("export orders --from yesterday", "expected a time like")]
fn wrong_usage_is_explained(#[case] line: &str, #[case] message: &str) {
    let output = TestDir::stocked().run(line);
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains(message), "{}", output.err);
}

#[test]
fn closed_pipe_ends_an_export_quietly() {
    let dir = TestDir::empty();
    dir.json("seed --products 5 --customers 5 --orders 2000");
    let mut command = dir.command(&["export", "lines"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut header = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut header).unwrap();
    let output = decode(&child.wait_with_output().unwrap());
    assert_eq!((output.status, output.err.as_str()), (0, ""));
    assert_eq!(&header, b"order_id");
}

/// A file of the store, by its name or by a link.
#[test]
fn export_never_replaces_the_store() {
    let dir = TestDir::stocked();
    let path = |name: &str| dir.0.path().join(name);
    let orders = "--database orders.csv";
    dir.json(&format!("{orders} init"));
    symlink("commerce.db", path("link.db")).unwrap();
    for line in [
        "export products --output commerce.db",
        "export products --output ./commerce.db",
        "export products --output link.db",
        "export products --output commerce.db-wal",
        "export products --output commerce.db-shm",
        "export products --output commerce.db-lock",
        "--database link.db export products --output commerce.db-lock",
        &format!("{orders} export products orders --into ."),
    ] {
        let output = dir.run(line);
        assert_eq!((output.status, output.out.as_str()), (2, ""), "{line}");
        assert!(output.err.contains("is part of the store itself"), "{line}: {}", output.err);
    }
    assert!(!path("products.csv").exists());
    for database in ["commerce.db", "orders.csv"] {
        assert_eq!(dir.json(&format!("--database {database} audit"))["ok"], true);
    }
}

#[test]
fn only_the_owner_reads_an_exported_file() {
    let dir = TestDir::stocked();
    let path = dir.0.path().join("customers.csv");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    dir.json("export customers --output customers.csv");
    dir.json("export customers --into new");
    for path in [path, dir.0.path().join("new/customers.csv")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// The number of times that the thread of the signal handler has begun to sleep; `None` while it runs.
fn sleeps_of_handler(process: u32) -> Option<u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
    let status = statuses.flatten().find(|status| status.starts_with("Name:\tctrl-c\n"))?;
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t"));
    status.contains("State:\tS").then(|| sleeps.unwrap().parse().unwrap())
}

/// The pipe is full when the signal arrives, and stays full until the thread of the handler has run.
#[test]
fn interrupted_export_ends_early() {
    let dir = TestDir::empty();
    dir.json("seed --products 5 --customers 5 --orders 2000");
    let mut command = dir.command(&["export", "lines"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 8]).unwrap();
    wait_until("waiting for a signal", || sleeps_of_handler(child.id()).is_some());
    let before = sleeps_of_handler(child.id());
    let mut signal = std::process::Command::new("kill");
    assert!(signal.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    wait_until("handled", || sleeps_of_handler(child.id()) > before);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let output = decode(&child.wait_with_output().unwrap());
    assert_eq!((output.status, output.err.as_str()), (130, ""));
    let whole = dir.run("export lines").out;
    assert!(rest.len() < whole.len() / 2, "{} of {}", rest.len(), whole.len());
}

#[test]
fn failed_export_leaves_no_file() {
    let dir = TestDir::stocked();
    let output = dir.run("export products --output /dev/full");
    assert_eq!(output.status, 1);
    assert!(output.err.contains("cannot write /dev/full: No space left"), "{}", output.err);
    let output = dir.run("export products --output missing/products.csv");
    assert_eq!(output.status, 1);
    assert!(output.err.contains("cannot write missing/products.csv"), "{}", output.err);
    // A limit of the size of a file acts as a full disk.
    dir.json("seed --database big.db --products 5 --customers 5 --orders 2000");
    let binary = env!("CARGO_BIN_EXE_commerce");
    let script =
        format!("ulimit -f 200; {binary} --database big.db export lines --output lines.csv");
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(dir.0.path()).env_clear().args(["-c", &script]);
    let output = decode(&shell.output().unwrap());
    assert_eq!(output.status, 1, "{}", output.err);
    assert!(output.err.contains("cannot write lines.csv: "), "{}", output.err);
    let left = |name: &str| {
        fs::read_dir(dir.0.path())
            .unwrap()
            .any(|file| file.unwrap().file_name().to_str().unwrap().starts_with(name))
    };
    assert!(!left("lines.csv"));
    assert!(!Path::new("missing").exists());
}
