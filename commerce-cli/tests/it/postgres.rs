//! The command on a PostgreSQL server: everything that works on a file works there, and no output
//! contains a password.

#[allow(dead_code, unreachable_pub, reason = "the tests of the core use the rest")]
#[path = "../../../commerce-core/tests/it/common/cluster.rs"]
mod cluster;

#[allow(unreachable_pub, reason = "the tests of the core use it too")]
#[path = "../../../commerce-core/tests/it/common/citus.rs"]
mod citus;

use serde_json::Value;
use std::process::{Command, Output};

fn run(database: &str, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_commerce"));
    command.env_clear().env("COMMERCE_DATABASE", database).args(line.split_whitespace());
    let output = command.output().unwrap();
    let output_text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !output_text.contains("geheim") && !output_text.contains("panicked"),
        "{line}: {output_text}"
    );
    output
}

fn json(database: &str, line: &str) -> Value {
    let output = run(database, &format!("--json {line}"));
    let (answer, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {error}{answer}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the URL of a new database, with a password that the server does not require.
fn database() -> String {
    let url = cluster::shared().database();
    let name = url.rsplit('/').next().unwrap();
    format!("postgres://postgres:geheim@127.0.0.1:{}/{name}", cluster::shared().port())
}

#[test]
fn commands_work_on_postgres_as_on_sqlite() {
    let url = database();
    assert_eq!(run(&url, "balance 1").status.code(), Some(1), "there is no store yet");
    let made = json(&url, "init --currency USD");
    assert_eq!((&made["currency"], &made["schema_version"]), (&"USD".into(), &15.into()));
    assert_eq!(run(&url, "init --currency KRW").status.code(), Some(2));
    json(&url, "customer add Kim");
    json(&url, "product add Tea 150 10");
    json(&url, "charge 1 1000 --key k");
    assert_eq!(json(&url, "charge 1 1000 --key k")["balance"], 1000);
    json(&url, "coupon add Spring --quantity 5 --percent 10");
    json(&url, "coupon claim 1 1");
    assert_eq!(json(&url, "order 1 1:2 --coupon 1")["total"], 270);
    json(&url, "cart set 1 1 3");
    assert_eq!(json(&url, "order 1 --cart --unpaid")["status"], "pending");
    json(&url, "orders pay 2");
    json(&url, "orders cancel 2");
    assert_eq!(run(&url, "order 1 1:9").status.code(), Some(3));
    assert_eq!(json(&url, "top")["items"][0]["units_sold"], 2);
    assert_eq!(json(&url, "events list")["items"].as_array().unwrap().len(), 3);
    assert_eq!(json(&url, "orders list 1")["items"].as_array().unwrap().len(), 2);
    assert_eq!(json(&url, "payments 1")["items"].as_array().unwrap().len(), 3);
    assert_eq!(json(&url, "audit")["ok"], true);
}

#[test]
fn backup_is_refused_and_bench_leaves_no_tables_on_postgres() {
    let url = database();
    json(&url, "init");
    let refused = run(&url, "backup copy.dump");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pg_dump"));
    let measured = json(&url, "bench --orders 300 --clients 4 --products 20");
    assert_eq!((&measured["orders"], &measured["audit_ok"]), (&300.into(), &true.into()));
    let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'commerce_bench%'";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn init_distribute_is_refused_without_citus() {
    let refused = |database: &str, status: i32, told: &str| {
        let output = run(database, "init --distribute");
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{output_text}");
        assert!(output_text.contains(told), "{output_text}");
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    refused(&file.display().to_string(), 2, "PostgreSQL server");
    assert!(!file.exists(), "nothing is left behind");
    let url = database();
    refused(&url, 1, "CREATE EXTENSION citus");
    json(&url, "init");
    refused(&url, 1, "a store already");
}

#[test]
fn copy_moves_a_store_to_postgres_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (first, url, third) = (file("a.db"), database(), file("b.db"));
    json(&first, "seed --products 20 --customers 20 --orders 200 --seed 7");
    let there = json(&first, &format!("copy --from {first} --to {url}"));
    assert_eq!(there["audit_ok"], true);
    let back = json(&first, &format!("copy --from {url} --to {third}"));
    assert_eq!(back["rows"]["orders"], there["rows"]["orders"]);
    assert_eq!(
        json(&first, "audit")["checked"]["ledger"],
        json(&third, "audit")["checked"]["ledger"]
    );
    assert_eq!(json(&first, "orders list 3"), json(&third, "orders list 3"));
    assert_eq!(json(&first, "orders list 3"), json(&url, "orders list 3"));
    let again = run(&first, &format!("copy --from {first} --to {url}"));
    assert_eq!(again.status.code(), Some(2), "it is not empty");
}

/// On a stand-in for Citus: commands ask for the layout, and those that would lose it name another.
#[test]
fn commands_ask_for_the_layout_of_a_store_on_citus() {
    let refused = |url: &str, line: &str, status: i32, parts: &[&str]| {
        let output = run(url, line);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{line}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{line}: {text}");
    };
    let (distributed, local) = (database(), database());
    for url in [&distributed, &local] {
        let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
        admin.batch_execute(citus::STAND_IN).unwrap();
        for line in ["init", "seed", "customer add Kim", "bench --orders 10"] {
            refused(url, line, 1, &["init --distribute", "init --local"]);
        }
        refused(url, "init --distribute --local", 2, &["cannot be used with"]);
    }
    json(&distributed, "init --distribute");
    refused(&distributed, "init --local", 1, &["it is distributed"]);
    refused(&distributed, "backup shop.db", 2, &["commerce copy --from URL --to shop.db"]);
    let measured = json(&distributed, "bench --orders 30 --clients 2 --products 20");
    assert_eq!((&measured["orders"], &measured["audit_ok"]), (&30.into(), &true.into()));
    json(&local, "init --local");
    json(&local, "init");
    refused(&local, "init --distribute", 1, &["not distributed"]);
    refused(&local, "backup shop.db", 2, &["pg_dump"]);
    assert_eq!(json(&local, "audit")["ok"], true);
}
