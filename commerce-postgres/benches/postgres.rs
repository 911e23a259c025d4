//! Orders a second on a PostgreSQL cluster, beside a function of PL/pgSQL with the same rows that is called
//! by `pgbench` with prepared statements and as many clients, by turns on one cluster:
//! `cargo bench -p commerce-postgres -- --seconds 6`.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a bench")]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "a bench")]

#[path = "../../commerce-core/tests/it/common/cluster.rs"]
mod cluster;

use cluster::Cluster;
use commerce_core::{AddCustomer, AddProduct, Key, Money, PlaceOrder, Shop};
use commerce_postgres::PostgresStore;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PRODUCTS: u64 = 10_000;
const CUSTOMERS: u64 = 10_000;
const TURNS: usize = 3;

/// Drops the foreign keys on both sides, to measure their cost.
const WITHOUT_FOREIGN_KEYS: &str = "DO $$ DECLARE one RECORD; BEGIN
    FOR one IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint WHERE contype = 'f' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.relation, one.conname);
    END LOOP;
END $$";

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    callers: usize,
    hot: bool,
}

const CASES: [Case; 3] = [
    Case { name: "16 callers, spread products", callers: 16, hot: false },
    Case { name: "64 callers, one hot product in every order", callers: 64, hot: true },
    Case { name: "a lone caller", callers: 1, hot: false },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let index = arguments.iter().position(|argument| argument == "--seconds");
    let seconds = index.and_then(|index| arguments.get(index + 1)?.parse().ok()).unwrap_or(5);
    let cluster = Cluster::start();
    let (ours, theirs) = (cluster.database(), cluster.database());
    let shop = Shop::open(PostgresStore::open(&ours).unwrap());
    fill(&shop);
    let other = Shop::open(PostgresStore::open(&theirs).unwrap());
    fill(&other);
    drop(other);
    let database = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let mut admin = cluster.admin(&database(&theirs));
    admin.batch_execute(include_str!("place_order.sql")).unwrap();
    if arguments.iter().any(|argument| argument == "--without-foreign-keys") {
        for name in [&ours, &theirs] {
            cluster.admin(&database(name)).batch_execute(WITHOUT_FOREIGN_KEYS).unwrap();
        }
    }
    for name in [&ours, &theirs] {
        cluster.admin(&database(name)).batch_execute("VACUUM ANALYZE").unwrap();
    }
    println!(
        "orders of 3 lines, {PRODUCTS} products, {CUSTOMERS} customers, {TURNS} turns of {seconds} s each"
    );
    for case in CASES {
        compare(case, &shop, seconds, || {
            pgbench(&cluster, &database(&theirs), None, case, seconds)
        });
    }
    drop(shop);
    println!("with 2 ms added to each round trip:");
    let port = slow_proxy(cluster.port(), Duration::from_millis(1));
    let slow = format!("postgres://postgres@127.0.0.1:{port}/{}", database(&ours));
    let shop = Shop::open(PostgresStore::open(&slow).unwrap());
    for case in CASES {
        compare(case, &shop, seconds, || {
            pgbench(&cluster, &database(&theirs), Some(port), case, seconds)
        });
    }
    let report = shop.audit().unwrap();
    println!("audit: {}", if report.ok { "all is well" } else { "NOT sound" });
}

fn compare(case: Case, shop: &Shop, seconds: u64, theirs: impl Fn() -> f64) {
    let (mut best, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let before = shop.stats();
    for _ in 0..TURNS {
        let (ours, theirs) = (run(shop, case, seconds), theirs());
        ratios.push(ours / theirs);
        best.push(ours);
        other.push(theirs);
    }
    let after = shop.stats();
    let commits = (after.commits - before.commits).max(1);
    let batch = (after.commands - before.commands) as f64 / commits as f64;
    println!(
        "  {:45} {:7.0}/s, by function {:6.0}/s: {:5.2} times ({} orders a commit)",
        case.name,
        median(&mut best),
        median(&mut other),
        median(&mut ratios),
        batch.round()
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn fill(shop: &Shop) {
    let balance = Money::from_minor(1_000_000_000_000);
    let price = Money::from_minor(100);
    let products: Vec<_> = (0..PRODUCTS)
        .map(|n| shop.call(AddProduct::new(format!("Product {n}"), price, 1_000_000_000)).submit())
        .collect();
    products.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|n| shop.call(AddCustomer { balance, ..AddCustomer::new(format!("C {n}")) }).submit())
        .collect();
    customers.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
}

fn run(shop: &Shop, case: Case, seconds: u64) -> f64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let placed = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..case.callers {
            let placed = &placed;
            scope.spawn(move || {
                let mut random =
                    0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(caller as u64 + 1 + number * 64);
                let mut draw = |below: u64| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    (random % below) as i64 + 1
                };
                for turn in 0.. {
                    if begun.elapsed() >= Duration::from_secs(seconds) {
                        break;
                    }
                    let first = if case.hot { 1 } else { draw(PRODUCTS) };
                    let items = [first, draw(PRODUCTS), draw(PRODUCTS)].map(|id| (id.into(), 1));
                    let key = Key::new(&format!("{number:06}-{turn:08}-{caller}")).unwrap();
                    let order = PlaceOrder::new(draw(CUSTOMERS).into(), items);
                    shop.place_order(order, &key).unwrap();
                    placed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    placed.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

fn pgbench(cluster: &Cluster, database: &str, port: Option<u16>, case: Case, seconds: u64) -> f64 {
    let script = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    let first = if case.hot { "1".to_owned() } else { format!("random(1, {PRODUCTS})") };
    let text = format!(
        "\\set a {first}\n\\set b random(1, {PRODUCTS})\n\\set c random(1, {PRODUCTS})\n\
         \\set customer random(1, {CUSTOMERS})\n\
         SELECT place_order(:customer, ARRAY[:a, :b, :c]::BIGINT[], to_char(nextval('next_key'), 'FM000000000000'));\n"
    );
    std::fs::write(script.path(), text).unwrap();
    let mut command = Command::new(cluster.program("pgbench"));
    command.args(["-n", "-M", "prepared", "-U", "postgres", "-j", "2", "-c"]);
    command
        .arg(case.callers.to_string())
        .arg("-T")
        .arg(seconds.to_string())
        .arg("-f")
        .arg(script.path());
    match port {
        Some(port) => command.args(["-h", "127.0.0.1", "-p", &port.to_string()]),
        None => command.arg("-h").arg(cluster.folder()).args(["-p", &cluster.port().to_string()]),
    };
    let output = command.arg(database).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("tps = "));
    let line = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Starts a proxy that delays every byte in both directions; returns its port.
fn slow_proxy(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let near = stream.unwrap();
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let (back_near, back_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || pump(near, far, delay));
            std::thread::spawn(move || pump(back_far, back_near, delay));
        }
    });
    port
}

/// Forwards each piece after the delay.
fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let mut bytes = vec![0; 1 << 20];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || sender.send((Instant::now() + delay, bytes[..count].to_vec())).is_err() {
            break;
        }
    }
}
