//! The contests: callers compete for something limited, and the outcome is exact. Each is written once
//! and run by threads, by processes and by instances.

use super::{assert_clean, key};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, BelowMinimum, CancelOrder, CouponId, CustomerId, Discount,
    Error, Money, Order, OrderId, OrderStatus, PageRequest, Patch, PayWhen, PlaceOrder, ProductId,
    Shop, UpdateProduct,
};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;

/// A contest on a new store. Caller `c` of `n` makes the calls `c`, `c + n`, `c + 2n` and so on.
pub struct Contest {
    /// The name by which a process is asked to take part.
    pub name: &'static str,
    pub calls: usize,
    prepare: fn(&Shop),
    call: fn(&Shop, usize) -> Result<String, Error>,
    check: fn(&Shop, &BTreeMap<String, usize>),
}

pub static CONTESTS: [Contest; 7] =
    [LAST_UNITS, LAST_COUPONS, ONE_BALANCE, ONE_KEY, ONE_LIMIT, ONE_REFERENCE, ONE_ORDER];

const KIM: CustomerId = CustomerId::new(1);
const TEA: ProductId = ProductId::new(1);
const SPRING: CouponId = CouponId::new(1);

/// 50 units, asked for 400 times.
pub const LAST_UNITS: Contest = Contest {
    name: "last units",
    calls: 400,
    prepare: |shop| {
        add_customers(shop, 20, 1_000);
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 50)).run().unwrap();
    },
    call: |shop, number| {
        let customer = CustomerId::new(1 + i64::try_from(number % 20).unwrap());
        let order = PlaceOrder::new(customer, [(TEA, 1)]);
        shop.place_order(order, &key(&format!("unit-{number}"))).map(done)
    },
    check: |shop, answers| {
        assert_eq!(*answers, counts([("done", 50), ("insufficient_stock", 350)]));
        assert_eq!(shop.product(TEA).unwrap().stock, 0);
        let customers = shop.customers(&PageRequest::first(100)).unwrap().items;
        let balances: i64 =
            customers.iter().map(|kim| shop.balance(kim.id).unwrap().balance.minor()).sum();
        assert_eq!(balances, 20 * 1_000 - 50 * 10);
    },
};

/// 100 coupons, claimed by 1,000 customers: the ranks 1 to 100 are given out without a gap.
pub const LAST_COUPONS: Contest = Contest {
    name: "last coupons",
    calls: 1_000,
    prepare: |shop| {
        add_customers(shop, 1_000, 0);
        let request = AddCoupon {
            below_minimum: BelowMinimum::Keep,
            name: "Spring".to_owned(),
            discount: Discount::Fixed { amount: Money::from_minor(5) },
            min_order_amount: None,
            quantity: 100,
            valid_from: None,
            valid_until: None,
        };
        shop.call(request).run().unwrap();
    },
    call: |shop, number| {
        let customer = CustomerId::new(1 + i64::try_from(number).unwrap());
        let claimed = shop.claim_coupon(SPRING, customer, &key("claim"));
        claimed.map(|owned| format!("rank {}", owned.rank))
    },
    check: |shop, answers| {
        let mut expected: BTreeMap<String, usize> =
            (1..=100).map(|rank| (format!("rank {rank}"), 1)).collect();
        expected.insert("coupon_sold_out".to_owned(), 900);
        assert_eq!(*answers, expected);
        assert_eq!(shop.coupon(SPRING).unwrap().issued, 100);
    },
};

/// A balance that covers ten of 200 orders and debits.
pub const ONE_BALANCE: Contest = Contest {
    name: "one balance",
    calls: 200,
    prepare: |shop| {
        add_customers(shop, 1, 100);
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap();
    },
    call: |shop, number| {
        let key = key(&format!("spend-{number}"));
        // Callers come in even numbers, so orders and debits alternate in the tens of numbers.
        if number / 10 % 2 == 0 {
            shop.place_order(PlaceOrder::new(KIM, [(TEA, 1)]), &key).map(done)
        } else {
            shop.debit(KIM, Money::from_minor(10), &key).map(done)
        }
    },
    check: |shop, answers| {
        assert_eq!(*answers, counts([("done", 10), ("insufficient_balance", 190)]));
        assert_eq!(shop.balance(KIM).unwrap().balance, Money::ZERO);
    },
};

/// 20 idempotency keys, each used by 16 calls: one order a key, and every call gets that order.
pub const ONE_KEY: Contest = Contest {
    name: "one key",
    calls: 320,
    prepare: |shop| {
        add_customers(shop, 1, 100_000);
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap();
    },
    call: |shop, number| {
        let key = key(&format!("same-{}", number / 16));
        let order = shop.place_order(PlaceOrder::new(KIM, [(TEA, 1)]), &key)?;
        Ok(format!("key {}: order {}", number / 16, order.id))
    },
    check: |shop, answers| {
        assert_eq!(answers.values().copied().collect::<Vec<_>>(), [16; 20], "{answers:?}");
        assert_eq!(shop.orders(KIM, &PageRequest::first(100)).unwrap().items.len(), 20);
        assert_eq!(shop.product(TEA).unwrap().stock, 1_000 - 20);
    },
};

/// One customer with a limit of 3 places 200 orders of 1 to 3 units, some of them unpaid, and cancels some: the live
/// orders never have a fourth unit, not for a moment.
pub const ONE_LIMIT: Contest = Contest {
    name: "one limit",
    calls: 200,
    prepare: |shop| {
        add_customers(shop, 1, 100_000);
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap();
        let limit_per_customer = Patch::Set(3);
        shop.call(UpdateProduct { limit_per_customer, ..UpdateProduct::new(TEA) }).run().unwrap();
    },
    call: |shop, number| {
        let units = i64::try_from(number / 16 % 3 + 1).unwrap();
        let pay = if number % 5 == 0 { PayWhen::Later } else { PayWhen::Now };
        let order = PlaceOrder { pay, ..PlaceOrder::new(KIM, [(TEA, units)]) };
        let order = shop.place_order(order, &key(&format!("limited-{number}")));
        let live = live_units(shop);
        assert!(live <= 3, "{live} units");
        // The last orders stay.
        if number < 150 {
            shop.cancel_order(order?.id, &key(&format!("cancel-{number}")))?;
            return Ok("cancelled".to_owned());
        }
        order.map(done)
    },
    check: |shop, answers| {
        let known = ["cancelled", "done", "purchase_limit"];
        assert!(answers.keys().all(|answer| known.contains(&answer.as_str())), "{answers:?}");
        assert_eq!(answers.values().sum::<usize>(), 200);
        assert!(answers.contains_key("cancelled") && answers.contains_key("done"), "{answers:?}");
        let live = live_units(shop);
        assert!((1..=3).contains(&live), "{live} units");
        assert_eq!(shop.product(TEA).unwrap().stock, 1_000 - live);
    },
};

/// Returns the units of the customer's live orders.
fn live_units(shop: &Shop) -> i64 {
    let (mut units, mut page) = (0, PageRequest::first(100));
    loop {
        let orders = shop.orders(KIM, &page).unwrap();
        units += orders.items.iter().filter(|order| order.is_live()).map(Order::units).sum::<i64>();
        let Some(cursor) = orders.next_cursor else { return units };
        page = PageRequest { cursor: Some(cursor), ..PageRequest::first(100) };
    }
}

/// 20 references, each used by 16 orders with keys of their own: one order a reference, and the others name it.
pub const ONE_REFERENCE: Contest = Contest {
    name: "one reference",
    calls: 320,
    prepare: |shop| {
        add_customers(shop, 1, 100_000);
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap();
    },
    call: |shop, number| {
        let reference = Some(format!("web-{}", number / 16));
        let order = PlaceOrder { reference, ..PlaceOrder::new(KIM, [(TEA, 1)]) };
        shop.place_order(order, &key(&format!("referenced-{number}"))).map(done)
    },
    check: |shop, answers| {
        assert_eq!(*answers, counts([("done", 20), ("reference_taken", 300)]));
        assert_eq!(shop.product(TEA).unwrap().stock, 1_000 - 20);
    },
};

const CUP: ProductId = ProductId::new(2);

/// The units of each order of [`ONE_ORDER`]: together a third of them stays, more or less.
const ITEMS: [(ProductId, i64); 2] = [(TEA, 30), (CUP, 9)];

/// Twelve orders to be paid later, of which 50 callers each cancel a unit, some without a return to the stock, while others
/// pay the order and a few cancel all that is left of it.
pub const ONE_ORDER: Contest = Contest {
    name: "one order",
    calls: 600,
    prepare: |shop| {
        add_customers(shop, 1, 100_000);
        shop.call(AddProduct::new("Tea", Money::from_minor(17), 1_000)).run().unwrap();
        shop.call(AddProduct::new("Cup", Money::from_minor(101), 1_000)).run().unwrap();
        let request = AddCoupon {
            below_minimum: BelowMinimum::Recalculate,
            name: "Spring".to_owned(),
            discount: Discount::Percent { percent: 7, max_amount: None },
            min_order_amount: Some(Money::from_minor(1_000)),
            quantity: 100,
            valid_from: None,
            valid_until: None,
        };
        shop.call(request).run().unwrap();
        let owned = shop.claim_coupon(SPRING, KIM, &key("claim")).unwrap();
        for number in 0..12 {
            // The first one uses the coupon.
            let owned_coupon_id = (number == 0).then_some(owned.id);
            let order = PlaceOrder::new(KIM, ITEMS);
            let order = PlaceOrder { pay: PayWhen::Later, owned_coupon_id, ..order };
            shop.place_order(order, &key(&format!("order-{number}"))).unwrap();
        }
    },
    call: |shop, number| {
        let key = key(&format!("call-{number}"));
        let (order, turn) = (number / 50 + 1, number % 50);
        let id = OrderId::new(i64::try_from(order).unwrap());
        if turn % 10 == 4 {
            return shop.pay_order(id, &key).map(|_| format!("{order} paid"));
        }
        // Every third order is cancelled in the end.
        if turn > 40 && order % 3 == 0 {
            return shop.cancel_order(id, &key).map(|_| format!("{order} cancelled"));
        }
        let items = Some(vec![(if turn % 3 == 0 { CUP } else { TEA }, 1)]);
        let keep_stock = turn % 7 == 0;
        let request = CancelOrder { order_id: id, items, keep_stock };
        let order_after = shop.call(request).key(&key).run()?;
        assert!(order_after.refunded() <= order_after.paid());
        Ok(format!("{order} {}", if keep_stock { "lost" } else { "returned" }))
    },
    check: |shop, answers| {
        let count = |order: OrderId, what: &str| {
            let count = answers.get(&format!("{order} {what}")).copied().unwrap_or(0);
            i64::try_from(count).unwrap()
        };
        let orders = shop.orders(KIM, &PageRequest::first(100)).unwrap().items;
        assert_eq!(orders.len(), 12);
        let (mut balance, mut out) = (100_000, 0);
        for order in orders {
            let units = order.units();
            let cancelled: i64 =
                order.lines.iter().map(|line| order.cancelled_units(line.product_id)).sum();
            let (lost, returned) = (count(order.id, "lost"), count(order.id, "returned"));
            assert_eq!(count(order.id, "paid"), i64::from(order.paid_at.is_some()), "{answers:?}");
            let is_cancelled = order.status == OrderStatus::Cancelled;
            if is_cancelled {
                assert_eq!(order.refunded(), order.paid());
                assert_eq!((cancelled, count(order.id, "cancelled") <= 1), (units, true));
                out += lost;
            } else {
                assert_eq!(cancelled, lost + returned, "{answers:?}");
                assert!(order.refunded() < order.paid());
                out += units - returned;
            }
            balance += order.refunded().minor() - order.paid().minor();
        }
        let refused = ["order_not_payable", "order_not_cancellable", "items_not_cancellable"];
        let is_known = |answer: &String| answer.contains(' ') || refused.contains(&answer.as_str());
        assert!(answers.keys().all(is_known), "{answers:?}");
        assert_eq!(shop.balance(KIM).unwrap().balance.minor(), balance);
        let stock = [TEA, CUP].map(|product| shop.product(product).unwrap().stock);
        assert_eq!(stock.iter().sum::<i64>(), 2_000 - out);
    },
};

impl Contest {
    /// Runs the contest with `callers` threads that are spread over the shops.
    pub fn run(&self, shops: &[Shop], callers: usize) {
        self.prepare(&shops[0]);
        let answers =
            together(shops, callers, self.calls, |shop, number| self.answer(shop, number));
        self.check(shops, answers);
    }

    pub fn prepare(&self, shop: &Shop) {
        (self.prepare)(shop);
    }

    /// Makes the calls of one caller; returns a line for each.
    pub fn calls_of(&self, shop: &Shop, caller: usize, callers: usize) -> Vec<String> {
        (caller..self.calls).step_by(callers).map(|number| self.answer(shop, number)).collect()
    }

    /// Checks the answers, and every shop by an audit.
    pub fn check(&self, shops: &[Shop], answers: Vec<String>) {
        (self.check)(&shops[0], &tally(answers));
        shops.iter().for_each(assert_clean);
    }

    fn answer(&self, shop: &Shop, number: usize) -> String {
        (self.call)(shop, number).unwrap_or_else(|error| error.code().to_string())
    }
}

/// Calls `work` with each number below `times`, on `callers` threads that are spread over the shops.
pub fn together<T: Send>(
    shops: &[Shop],
    callers: usize,
    times: usize,
    work: impl Fn(&Shop, usize) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let (shop, numbers) =
                    (&shops[caller % shops.len()], (caller..times).step_by(callers));
                scope.spawn(move || numbers.map(|number| work(shop, number)).collect::<Vec<_>>())
            })
            .collect();
        let results = threads.into_iter();
        results
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

pub fn add_customers(shop: &Shop, count: usize, balance: i64) {
    let balance = Money::from_minor(balance);
    let add = || shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).submit();
    let calls: Vec<_> = (0..count).map(|_| add()).collect();
    // Ids count up from 1: a contest names its customers by them.
    let ids: BTreeSet<_> = calls.into_iter().map(|call| call.wait().unwrap().id).collect();
    assert_eq!(ids.len(), count);
}

pub fn tally(answers: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

pub fn counts<const N: usize>(pairs: [(&str, usize); N]) -> BTreeMap<String, usize> {
    pairs.into_iter().map(|(answer, count)| (answer.to_owned(), count)).collect()
}

fn done<T>(_: T) -> String {
    "done".to_owned()
}
