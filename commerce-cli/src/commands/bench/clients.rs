//! The clients of a benchmark. Each places an order, waits for the answer, and places the next.

use crate::error::CliError;
use crate::interrupt;
use crate::prng::{SplitMix, Zipf};
use crate::progress;
use commerce_core::{CustomerId, Error, Key, PlaceOrder, ProductId, Shop};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The precision of recorded latencies, in significant digits.
const DIGITS: u8 = 3;

/// The parameters of a benchmark.
pub(super) struct Load {
    pub(super) orders: u32,
    pub(super) clients: u32,
    pub(super) customers: u32,
    pub(super) lines: usize,
    pub(super) popularity: Zipf,
}

/// The outcome of a benchmark.
pub(super) struct Latencies {
    pub(super) micros: Histogram<u64>,
    pub(super) placed: u32,
    pub(super) refused: u32,
}

/// The state that the client threads share.
struct BenchRun<'a> {
    load: &'a Load,
    shop: &'a Shop,
    bar: ProgressBar,
    /// The number of orders started.
    started: AtomicU32,
    /// Set if a client cannot continue.
    failed: AtomicBool,
}

impl Load {
    /// Places all orders, from as many threads as there are clients.
    pub(super) fn run(&self, shop: &Shop) -> Result<Latencies, CliError> {
        let bar = progress::items("orders", self.orders.into());
        let shared = BenchRun {
            load: self,
            shop,
            bar,
            started: AtomicU32::new(0),
            failed: AtomicBool::new(false),
        };
        let all = thread::scope(|scope| {
            let client = |number| {
                let shared = &shared;
                let started =
                    thread::Builder::new().spawn_scoped(scope, move || shared.client(number));
                started.inspect_err(|_| shared.failed.store(true, Ordering::Relaxed))
            };
            let clients: Vec<_> = (0..self.clients).map(client).collect();
            let mut all = Latencies::none()?;
            for client in clients {
                let client = client.map_err(|error| {
                    CliError::storage(format!(
                        "cannot start another thread ({error}): use fewer --clients, or raise the limit \
                         on processes (ulimit -u)"
                    ))
                })?;
                let joined = client.join().map_err(|_| CliError::storage("a client panicked"))?;
                all.add(&joined?)?;
            }
            Ok(all)
        });
        shared.bar.finish_and_clear();
        all
    }
}

impl BenchRun<'_> {
    fn client(&self, number: u32) -> Result<Latencies, CliError> {
        let mut latencies = Latencies::none()?;
        let mut random = SplitMix::new(number.into());
        while let Some(number) = self.next_number() {
            let (order, key) = self.order(number, &mut random)?;
            let started = Instant::now();
            let answer = self.shop.place_order(order, &key);
            latencies.record(started.elapsed())?;
            match answer {
                Ok(_) => latencies.placed = latencies.placed.saturating_add(1),
                Err(Error::Refused(_)) => latencies.refused = latencies.refused.saturating_add(1),
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(error.into());
                }
            }
            self.bar.inc(1);
        }
        Ok(latencies)
    }

    /// The number of the next order; `None` at the end.
    fn next_number(&self) -> Option<u32> {
        if interrupt::requested() || self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        (number < self.load.orders).then_some(number)
    }

    fn order(&self, number: u32, random: &mut SplitMix) -> Result<(PlaceOrder, Key), CliError> {
        let customer = random.between(1, self.load.customers.into());
        let indices = self.load.popularity.choose_distinct(self.load.lines, random);
        let items: Vec<_> =
            indices.into_iter().map(|index| (ProductId::new(id(index)), 1)).collect();
        let customer = CustomerId::new(i64::try_from(customer).unwrap_or(i64::MAX));
        let key = Key::new(&format!("bench:{number:08}"));
        let key = key.ok_or_else(|| CliError::storage("cannot generate a key"))?;
        Ok((PlaceOrder::new(customer, items), key))
    }
}

/// The id of an index. Ids start at 1.
fn id(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)
}

impl Latencies {
    fn none() -> Result<Self, CliError> {
        let micros = Histogram::new(DIGITS).map_err(|_| cannot_record())?;
        Ok(Self { micros, placed: 0, refused: 0 })
    }

    fn record(&mut self, latency: Duration) -> Result<(), CliError> {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.micros.record(micros).map_err(|_| cannot_record())
    }

    fn add(&mut self, other: &Self) -> Result<(), CliError> {
        self.placed = self.placed.saturating_add(other.placed);
        self.refused = self.refused.saturating_add(other.refused);
        self.micros.add(&other.micros).map_err(|_| cannot_record())
    }
}

fn cannot_record() -> CliError {
    CliError::storage("cannot record a latency")
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{AddCustomer, AddProduct, Currency, MemoryStore, Money};

    #[test]
    fn load_places_every_order_once_and_counts_refusals() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        for _ in 0..3 {
            shop.call(AddProduct::new("Tea", Money::from_minor(1), 40)).run().unwrap();
            shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
                .run()
                .unwrap();
        }
        let load =
            Load { orders: 60, clients: 4, customers: 3, lines: 3, popularity: Zipf::new(3, 1.0) };
        let latencies = load.run(&shop).unwrap();
        assert_eq!((latencies.placed, latencies.refused), (40, 20));
        assert_eq!(latencies.micros.len(), 60);
        assert!(shop.audit().unwrap().ok);
    }
}
