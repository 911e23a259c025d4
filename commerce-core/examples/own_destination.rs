//! A destination of an embedding program: events of orders are delivered to a channel, and to any number of relays.
//! Run it with `cargo run -p commerce-core --example own_destination`.

use commerce_core::{
    AddCustomer, AddProduct, CancellationToken, Currency, DeliveryResult, Destination, Event, Key,
    MemoryStore, Money, PlaceOrder, Shop,
};
use std::io::{Write, stdout};
use std::sync::mpsc::{Sender, channel};

/// Sends the ids of events to a channel.
struct ToChannel(Sender<String>);

impl Destination for ToChannel {
    fn max_batch_size(&self) -> usize {
        10
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    /// Delivery is at least once: after a crash the same event may come again, so that the receiver must recognise
    /// `public_id`.
    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        for event in events {
            if self.0.send(format!("{}: {}", event.public_id, event.kind)).is_err() {
                // The relay backs off, and retries these events later.
                let error = "the channel is closed".to_owned();
                return DeliveryResult::Failed { error, retry_after: None };
            }
        }
        DeliveryResult::Done
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Shop::open(MemoryStore::new(Currency::KRW));
    let kim = AddCustomer { balance: Money::from_minor(9_000), ..AddCustomer::new("Kim") };
    let kim = shop.call(kim).run()?.id;
    let tea = shop.call(AddProduct::new("Green tea", Money::from_minor(3_000), 10)).run()?.id;
    let key = Key::new("order-1").ok_or("a key is visible ASCII")?;
    let order = shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key)?;
    shop.cancel_order(order.id, &Key::new("cancel-1").ok_or("a key is visible ASCII")?)?;

    let (sender, receiver) = channel();
    let destination = ToChannel(sender);
    // `run` delivers events as they are written, until the token is cancelled by another thread; `run_once` delivers
    // the due ones and returns.
    let stats = shop.relay(&destination).run_once(&CancellationToken::new())?;
    let mut out = stdout().lock();
    writeln!(out, "{} events delivered", stats.delivered)?;
    for line in receiver.try_iter() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
