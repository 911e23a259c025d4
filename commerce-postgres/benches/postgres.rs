//! Orders a second on a PostgreSQL cluster, beside a function of PL/pgSQL with the same rows that is called
//! by `pgbench` with prepared statements and as many clients, by turns on one cluster:
//! `cargo bench -p commerce-postgres -- --seconds 6`. `--only instances` runs the cases with that word in their name,
//! `--statements` prints what each statement of a commit costs the server instead of comparing.

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

/// Drops all foreign keys on both sides, to measure their cost: those of an order are only on the function's.
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

/// The case that compares one instance with several.
const SHARED: Case = Case { name: "64 callers, instances", callers: 64, hot: false };

/// The number of instances that share the callers of [`SHARED`].
const INSTANCES: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let index = arguments.iter().position(|argument| argument == "--seconds");
    let seconds = index.and_then(|index| arguments.get(index + 1)?.parse().ok()).unwrap_or(5);
    let index = arguments.iter().position(|argument| argument == "--only");
    let only = index.and_then(|index| arguments.get(index + 1)).map_or("", String::as_str);
    let cases = || CASES.into_iter().filter(|case| case.name.contains(only));
    let statements = arguments.iter().any(|argument| argument == "--statements");
    let settings = if statements { "shared_preload_libraries = 'pg_stat_statements'" } else { "" };
    let cluster = Cluster::start_with(|_| settings.to_owned());
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
    if statements {
        let mut admin = cluster.admin(&database(&ours));
        cases().for_each(|case| print_statements(case, &shop, seconds, &mut admin));
        return;
    }
    println!(
        "orders of 3 lines, {PRODUCTS} products, {CUSTOMERS} customers, {TURNS} turns of {seconds} s each"
    );
    for case in cases() {
        compare(case, &cluster, &shop, seconds, || {
            pgbench(&cluster, &database(&theirs), None, case, seconds)
        });
    }
    if SHARED.name.contains(only) {
        compare_instances(&shop, &ours, seconds);
    }
    drop(shop);
    println!("with 2 ms added to each round trip:");
    let port = slow_proxy(cluster.port(), Duration::from_millis(1));
    let slow = format!("postgres://postgres@127.0.0.1:{port}/{}", database(&ours));
    let shop = Shop::open(PostgresStore::open(&slow).unwrap());
    for case in cases() {
        compare(case, &cluster, &shop, seconds, || {
            pgbench(&cluster, &database(&theirs), Some(port), case, seconds)
        });
    }
    let report = shop.audit().unwrap();
    println!("audit: {}", if report.ok { "all is well" } else { "NOT sound" });
}

/// Microseconds of CPU time that a cluster and this process have used so far. On a busy machine they tell more than rates.
fn cpu(cluster: &Cluster) -> [f64; 2] {
    let stat = |pid: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = text.rsplit(')').next().unwrap_or_default().to_owned();
        rest.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect()
    };
    let sum = |pid: &str, fields: std::ops::Range<usize>| -> f64 {
        stat(pid).get(fields).map_or(0.0, |ticks| ticks.iter().sum::<f64>() * 10_000.0)
    };
    let file = std::fs::read_to_string(cluster.folder().join("data/postmaster.pid")).unwrap();
    let first = file.lines().next().unwrap().to_owned();
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    // The first process has the time of those that have ended.
    let server = children.split_whitespace().map(|pid| sum(pid, 11..13)).sum::<f64>();
    [server + sum(&first, 11..15), sum("self", 11..13)]
}

fn compare(case: Case, cluster: &Cluster, shop: &Shop, seconds: u64, theirs: impl Fn() -> f64) {
    let (mut best, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let before = shop.stats();
    let (mut times, mut their_times) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..TURNS {
        let [server, client] = cpu(cluster);
        let ours = run(std::slice::from_ref(shop), case, seconds);
        let [server_after, client_after] = cpu(cluster);
        let theirs = theirs();
        let orders = ours * seconds as f64;
        times[0].push((server_after - server) / orders);
        times[1].push((client_after - client) / orders);
        their_times.push((cpu(cluster)[0] - server_after) / (theirs * seconds as f64));
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
    let [server, client] = &mut times;
    println!(
        "  {:45} CPU time of an order: {:.0} us of the server and {:.0} us here, by function {:.0} us",
        "",
        median(server),
        median(client),
        median(&mut their_times)
    );
}

/// Prints the server's time for each statement, in microseconds per commit.
fn print_statements(case: Case, shop: &Shop, seconds: u64, admin: &mut postgres::Client) {
    admin.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").unwrap();
    run(std::slice::from_ref(shop), case, 1);
    admin.query("SELECT pg_stat_statements_reset()", &[]).unwrap();
    let (before, begun) = (shop.stats(), Instant::now());
    let rate = run(std::slice::from_ref(shop), case, seconds);
    let (after, spent) = (shop.stats(), begun.elapsed());
    let commits = (after.commits - before.commits) as f64;
    let sql = "SELECT total_exec_time * 1000, calls, regexp_replace(query, '\\s+', ' ', 'g')
               FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 30";
    println!("{}: {rate:.0}/s, {:.0} us a commit", case.name, spent.as_secs_f64() * 1e6 / commits);
    for row in admin.query(sql, &[]).unwrap() {
        let (time, calls, text): (f64, i64, String) = (row.get(0), row.get(1), row.get(2));
        let text: String = text.chars().take(100).collect();
        println!("  {:7.1} us {:5.2} calls  {text}", time / commits, calls as f64 / commits);
    }
}

/// Compares the callers in one instance with the same callers in several.
fn compare_instances(shop: &Shop, url: &str, seconds: u64) {
    let shops: Vec<_> =
        (0..INSTANCES).map(|_| Shop::open(PostgresStore::open(url).unwrap())).collect();
    let (mut one, mut several, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let alone = run(std::slice::from_ref(shop), SHARED, seconds);
        let shared = run(&shops, SHARED, seconds);
        ratios.push(shared / alone);
        one.push(alone);
        several.push(shared);
    }
    let stats = shops.iter().map(Shop::stats);
    let (commands, commits) =
        stats.fold((0, 0), |sum, stats| (sum.0 + stats.commands, sum.1 + stats.commits));
    println!(
        "  {:45} {:7.0}/s in {INSTANCES}, {:6.0}/s in one: {:5.2} times ({} orders a commit)",
        SHARED.name,
        median(&mut several),
        median(&mut one),
        median(&mut ratios),
        commands / commits.max(1)
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

fn run(shops: &[Shop], case: Case, seconds: u64) -> f64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let placed = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..case.callers {
            let (placed, shop) = (&placed, &shops[caller % shops.len()]);
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
