//! Orders a second, each case beside the hand-written baseline of the same run, as ratios.
//!
//! `cargo bench --bench orders` takes some minutes; `-- --seconds 2` shortens each case, and
//! `-- --history 2000000` adds the case of a store that holds so many orders already. `-- --case 64` runs only the cases
//! with that text in their names.
//!
//! The result is a table of ratios, of cases that run for seconds with many threads; harnesses that
//! repeat a closure until its time is known do not fit.

#![allow(missing_docs, unreachable_pub, reason = "a bench")]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "a bench")]

mod support;

use commerce_core::Shop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{
    Baseline, Random, Taste, argument, fill, growing_key, number_argument, order, random_key, shop,
};

const PRODUCTS: i64 = 1_000;

fn main() {
    let time = Duration::from_secs(number_argument("--seconds", 5));
    let history = number_argument("--history", 0);
    let case = argument("--case");
    let is_wanted = |name: &str| case.as_deref().is_none_or(|case| name.contains(case));
    let folder = tempfile::tempdir_in(".").unwrap();
    let file = folder.path().join("bench.db");

    println!(
        "3 lines an order, {PRODUCTS} products, synchronous=FULL, {} s a case",
        time.as_secs()
    );
    println!("each ratio is against the baseline, run right before and after the case");
    println!(
        "{:<38} {:>9} {:>9} {:>6} {:>13}",
        "case", "orders/s", "baseline", "ratio", "orders/commit"
    );
    drop(shop(&file, PRODUCTS));
    let slice = time / 4;
    let beside = |case: &mut dyn FnMut() -> (f64, f64)| {
        let before = baseline(&file, slice);
        let (rate, batch) = case();
        (rate, (before + baseline(&file, slice)) / 2.0, batch)
    };
    let case = |name: &str, callers: usize, taste: Taste, random_keys: bool| {
        if !is_wanted(name) {
            return;
        }
        let file = folder.path().join(format!("{name}.db").replace(' ', "-"));
        let shop = shop(&file, PRODUCTS);
        let (rate, base, batch) =
            beside(&mut || waiting_callers(&shop, callers, taste, random_keys, time));
        report(name, rate, base, batch);
    };
    case("1 caller", 1, Taste::Spread(PRODUCTS), false);
    case("16 callers", 16, Taste::Spread(PRODUCTS), false);
    case("16 callers, one hot product", 16, Taste::OneHot(PRODUCTS), false);
    case("16 callers, random keys", 16, Taste::Spread(PRODUCTS), true);
    case("64 callers", 64, Taste::Spread(PRODUCTS), false);
    case("256 callers", 256, Taste::Spread(PRODUCTS), false);
    case("256 callers, one hot product", 256, Taste::OneHot(PRODUCTS), false);
    let ahead = "1 caller that submits ahead";
    if is_wanted(ahead) {
        let (rate, base, batch) = beside(&mut || submitted_ahead(folder.path(), time));
        report(ahead, rate, base, batch);
    }
    if history > 0 {
        after_history(folder.path(), history, time);
    }
}

fn report(name: &str, rate: f64, base: f64, batch: f64) {
    println!("{name:<38} {rate:>9.0} {base:>9.0} {:>6.2} {batch:>13.1}", rate / base);
}

fn baseline(file: &std::path::Path, time: Duration) -> f64 {
    let hand = Baseline::new(file);
    hand.prepare();
    let first_key = hand.orders();
    let mut random = Random(first_key);
    let start = Instant::now();
    let mut done = 0_u64;
    while start.elapsed() < time {
        hand.index(
            &order(&mut random, Taste::Spread(PRODUCTS)),
            &growing_key(first_key + done),
            1_800_000_000,
        );
        done += 1;
    }
    done as f64 / start.elapsed().as_secs_f64()
}

fn waiting_callers(
    shop: &Shop,
    callers: usize,
    taste: Taste,
    random_keys: bool,
    time: Duration,
) -> (f64, f64) {
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    // No key and no order of an earlier case on the same store is repeated.
    let seed = (shop.stats().commands + 1) << 20;
    let keys = AtomicU64::new(seed);
    let before = shop.stats();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (done, stop, keys) = (&done, &stop, &keys);
            scope.spawn(move || {
                let mut random = Random(seed + caller as u64 + 1);
                while !stop.load(Ordering::Relaxed) {
                    let key = match random_keys {
                        true => random_key(&mut random),
                        false => growing_key(keys.fetch_add(1, Ordering::Relaxed)),
                    };
                    shop.place_order(order(&mut random, taste), &key).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The measured time.
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let took = start.elapsed().as_secs_f64();
    let after = shop.stats();
    let batch =
        (after.commands - before.commands) as f64 / (after.commits - before.commits).max(1) as f64;
    (done.load(Ordering::Relaxed) as f64 / took, batch)
}

/// Measures one thread that submits ahead and waits later, like an import.
fn submitted_ahead(folder: &std::path::Path, time: Duration) -> (f64, f64) {
    let file = folder.join("ahead.db");
    let shop = shop(&file, PRODUCTS);
    let mut random = Random(9);
    let before = shop.stats();
    let orders = 20_000 * time.as_secs();
    let start = Instant::now();
    fill(&shop, orders, |number| {
        (order(&mut random, Taste::Spread(PRODUCTS)), growing_key(number), None)
    });
    let rate = orders as f64 / start.elapsed().as_secs_f64();
    let after = shop.stats();
    let batch = (after.commands - before.commands) as f64 / (after.commits - before.commits) as f64;
    drop(shop);
    println!("bytes on disk an order: {}", std::fs::metadata(&file).unwrap().len() / orders);
    (rate, batch)
}

/// Alternates the same case on a fresh store and on one with history.
fn after_history(folder: &std::path::Path, orders: u64, time: Duration) {
    let file = folder.join("history.db");
    let full = shop(&file, PRODUCTS);
    let mut random = Random(3);
    let start = Instant::now();
    let now = full.now().unix();
    let span = 60 * 86_400;
    fill(&full, orders, |number| {
        let at = now - span + (number as i64) * span / (orders as i64);
        (order(&mut random, Taste::Spread(PRODUCTS)), random_key(&mut Random(number)), Some(at))
    });
    println!(
        "{orders} orders of history placed in {:.0} s, {} bytes an order",
        start.elapsed().as_secs_f64(),
        std::fs::metadata(&file).unwrap().len() / orders
    );
    for random_keys in [false, true] {
        let keys = if random_keys { "random keys" } else { "growing keys" };
        for turn in 1..=2 {
            let fresh = shop(&folder.join(format!("fresh{turn}{random_keys}.db")), PRODUCTS);
            let (rate_fresh, _) =
                waiting_callers(&fresh, 16, Taste::Spread(PRODUCTS), random_keys, time);
            let (rate, batch) =
                waiting_callers(&full, 16, Taste::Spread(PRODUCTS), random_keys, time);
            report(&format!("16 callers, {keys}, history / empty"), rate, rate_fresh, batch);
        }
    }
}
