//! Parts of orders, cancelled by callers at once in any sequence: what comes back is what was paid, to the minor unit.

use crate::common::{On, World, key};
use commerce_core::testing::AnyOperation;
use commerce_core::{
    AddCoupon, BalanceReportRequest, Basis, BelowMinimum, CancelOrder, CouponReportRequest,
    CustomerId, Discount, EntryKind, Key, Money, Order, OrderId, OrderStatus, OwnedCouponId,
    PageRequest, PayOrder, PayWhen, Period, PlaceOrder, ProductId, ProductReportRequest, RankBy,
    SalesReportRequest, Shop, StockReportRequest, Window,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use rstest::rstest;
use serde_json::{Value, json};
use std::thread;

const CALLERS: usize = 4;
const STOCK: i64 = 1_000;
const BALANCE: i64 = 1_000_000_000;

/// A caller's request: the position of a line, units, and whether they are lost. `None` pays the order.
type Request = Option<(usize, i64, bool)>;

/// An order and what becomes of it.
#[derive(Clone, Debug)]
struct Case {
    /// The prices and quantities of the lines.
    lines: Vec<(i64, i64)>,
    coupon: Option<(Discount, Option<i64>, BelowMinimum)>,
    pay: PayWhen,
    callers: Vec<Vec<Request>>,
    /// The requests for the rest; what they leave is cancelled as a whole, without a return to the stock if true.
    then: Vec<Request>,
    loses_rest: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let price = prop_oneof![3 => 1_i64..500, 1 => 1_i64..4, 1 => 1_i64..90_000];
    let lines = prop::collection::vec((price, 1_i64..9), 1..5);
    let amount = |limit: i64| (1..limit).prop_map(Money::from_minor);
    let discount = prop_oneof![
        amount(2_000).prop_map(|amount| Discount::Fixed { amount }),
        (1_i64..101, prop::option::of(amount(300)))
            .prop_map(|(percent, max_amount)| Discount::Percent { percent, max_amount }),
    ];
    // The minimum as a part of the order.
    let minimum = prop::option::weighted(0.6, 1_i64..101);
    let coupon = (discount, minimum, select(BelowMinimum::ALL.to_vec()));
    let request = || {
        let part = (0_usize..5, 1_i64..4, prop::bool::weighted(0.2)).prop_map(Some);
        prop_oneof![9 => part, 1 => Just(None)]
    };
    let requests = move |most| prop::collection::vec(request(), 0..most);
    let pay = select(vec![PayWhen::Now, PayWhen::Later]);
    let callers = prop::collection::vec(requests(6), CALLERS);
    (lines, prop::option::weighted(0.8, coupon), pay, callers, requests(20), any::<bool>())
        .prop_map(|(lines, coupon, pay, callers, then, loses_rest)| Case {
            lines,
            coupon,
            pay,
            callers,
            then,
            loses_rest,
        })
}

/// An order that was placed, with its products and its first state.
struct Placed<'a> {
    shop: &'a Shop,
    customer: CustomerId,
    owned: Option<OwnedCouponId>,
    products: Vec<ProductId>,
    order: Order,
}

/// A request with its key and its answer to the byte.
type Answered = (AnyOperation, Key, String);

impl<'a> Placed<'a> {
    fn new(world: &'a World, case: &Case) -> Self {
        let shop = &world.shop;
        let customer = world.customer(BALANCE).id;
        let products: Vec<ProductId> =
            case.lines.iter().map(|(price, _)| world.product(*price, STOCK).id).collect();
        let subtotal: i64 = case.lines.iter().map(|(price, quantity)| price * quantity).sum();
        let owned = case.coupon.map(|(discount, minimum, below_minimum)| {
            let minimum = minimum.map(|part| Money::from_minor((subtotal * part / 100).max(1)));
            let request = AddCoupon {
                name: "Spring".to_owned(),
                discount,
                min_order_amount: minimum,
                below_minimum,
                quantity: 1,
                valid_from: None,
                valid_until: None,
            };
            let coupon = shop.call(request).run().unwrap();
            shop.claim_coupon(coupon.id, customer, &key("claim")).unwrap().id
        });
        let items: Vec<_> =
            products.iter().zip(&case.lines).map(|(id, (_, quantity))| (*id, *quantity)).collect();
        let order = PlaceOrder::new(customer, items);
        let order = PlaceOrder { pay: case.pay, owned_coupon_id: owned, ..order };
        let order = shop.place_order(order, &key("order")).unwrap();
        Self { shop, customer, owned, products, order }
    }

    fn operation(&self, request: Request) -> AnyOperation {
        let order_id = self.order.id;
        match request {
            None => PayOrder { order_id }.into(),
            Some((line, units, keep_stock)) => {
                let product = self.products[line % self.products.len()];
                CancelOrder { order_id, items: Some(vec![(product, units)]), keep_stock }.into()
            }
        }
    }

    /// Returns the answer to the byte, and whether it is that of an earlier call.
    fn call(&self, operation: &AnyOperation, key: &Key) -> (String, bool) {
        let outcome = if let AnyOperation::PayOrder(request) = operation {
            self.shop.call(request.clone()).key(key).outcome()
        } else if let AnyOperation::CancelOrder(request) = operation {
            self.shop.call(request.clone()).key(key).outcome()
        } else {
            panic!("{operation:?}")
        };
        let text = match outcome.result {
            Ok(order) => serde_json::to_string(&order).unwrap(),
            Err(error) => format!("{error:?}"),
        };
        (text, outcome.replayed)
    }

    fn answer(&self, operation: AnyOperation, name: &str) -> Answered {
        let key = key(name);
        let (answer, replayed) = self.call(&operation, &key);
        assert!(!replayed);
        (operation, key, answer)
    }

    /// The callers' requests at once, and their answers.
    fn at_once(&self, callers: &[Vec<Request>]) -> Vec<Answered> {
        thread::scope(|scope| {
            let threads = callers.iter().enumerate().map(|(caller, requests)| {
                scope.spawn(move || {
                    let answer = |(turn, request): (usize, &Request)| {
                        self.answer(self.operation(*request), &format!("{caller}-{turn}"))
                    };
                    requests.iter().enumerate().map(answer).collect::<Vec<_>>()
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn now(&self) -> Order {
        self.shop.order(self.order.id).unwrap()
    }

    /// Checks the order against the answers and against everything that follows from it.
    fn check(&self, answers: &[Answered]) -> Result<(), TestCaseError> {
        let order = self.now();
        let (paid, refunded) = (order.paid().minor(), order.refunded().minor());
        prop_assert!(0 <= refunded && refunded <= paid && paid <= order.total.minor());
        let is_cancelled = order.status == OrderStatus::Cancelled;
        prop_assert!(!is_cancelled || refunded == paid);
        let mut gone = vec![(0, 0); order.lines.len()];
        for (operation, _, answer) in answers.iter().filter(|(.., answer)| answer.starts_with('{'))
        {
            let body: Value = serde_json::from_str(answer).unwrap();
            prop_assert!(body["refunded"].as_i64().unwrap() <= paid);
            let AnyOperation::CancelOrder(request) = operation else { continue };
            for (product, units) in request.items.iter().flatten() {
                let line = order.lines.iter().position(|line| line.product_id == *product);
                let (all, lost) = &mut gone[line.unwrap()];
                *all += units;
                *lost += if request.keep_stock { *units } else { 0 };
            }
        }
        for (line, (all, lost)) in order.lines.iter().zip(gone) {
            let cancelled = order.cancelled_units(line.product_id);
            prop_assert_eq!(cancelled, if is_cancelled { line.quantity } else { all });
            let rows = order.cancellations.iter().filter(|row| row.product_id == line.product_id);
            let kept: i64 = rows.clone().filter(|row| !row.is_restocked).map(|row| row.units).sum();
            prop_assert!(kept >= lost, "the rest may be lost, too");
            let stock = self.shop.product(line.product_id).unwrap().stock;
            prop_assert_eq!(stock, STOCK - line.quantity + cancelled - kept);
            for row in rows {
                prop_assert!(row.units >= 0 && row.amount >= Money::ZERO);
                prop_assert!(row.line_amount <= row.net && row.line_units <= row.quantity);
            }
        }
        for left in order.remainders() {
            prop_assert!(left.units >= 0 && left.net >= Money::ZERO && left.net <= left.line_net);
        }
        let balance = self.shop.balance(self.customer).unwrap().balance.minor();
        prop_assert_eq!(balance, BALANCE - paid + refunded);
        let ledger = self.shop.ledger(self.customer, &PageRequest::first(100)).unwrap().items;
        let sum = |kind| -> i64 {
            let entries = ledger.iter().filter(|entry| entry.kind == kind);
            entries.map(|entry| entry.amount.minor()).sum()
        };
        prop_assert_eq!((sum(EntryKind::Payment), sum(EntryKind::Refund)), (-paid, refunded));
        if let Some(id) = self.owned {
            let owned = self.shop.owned_coupon_of(self.customer, id).unwrap();
            prop_assert_eq!(owned.order_id, (!is_cancelled).then_some(order.id));
        }
        Ok(())
    }

    /// Repeats the keys: each gives its old answer, and nothing changes.
    fn repeat(&self, answers: &[Answered]) -> Result<(), TestCaseError> {
        let before = self.now();
        for (operation, key, answer) in answers {
            let (again, replayed) = self.call(operation, key);
            prop_assert_eq!(&again, answer);
            prop_assert!(replayed);
        }
        prop_assert_eq!(self.now(), before);
        Ok(())
    }
}

/// Checks that the statistics follow from the orders, on both bases.
fn check_reports(shop: &Shop) -> Result<(), TestCaseError> {
    let now = shop.now();
    let window = Window::Between { from: now.plus_seconds(-10), to: Some(now) };
    let sales = |basis| {
        let (by, zone, compare) = (Period::Day, None, None);
        let request = SalesReportRequest { window, by, zone, compare, basis };
        shop.prove(&request).unwrap()
    };
    for basis in [Basis::Booked, Basis::Standing] {
        prop_assert_eq!(sales(basis).differences, vec![]);
    }
    let at = Some(now);
    let products = ProductReportRequest { by: RankBy::Net, days: 3, limit: 100, at };
    prop_assert_eq!(shop.prove(&products).unwrap().differences, vec![]);
    prop_assert_eq!(shop.prove(&BalanceReportRequest { at }).unwrap().differences, vec![]);
    prop_assert_eq!(shop.prove(&CouponReportRequest).unwrap().differences, vec![]);
    let stock = StockReportRequest { days: 3, limit: 100 };
    prop_assert_eq!(shop.prove(&stock).unwrap().differences, vec![]);
    let (booked, standing) =
        (json!(sales(Basis::Booked).report), json!(sales(Basis::Standing).report));
    let number = |report: &Value, figure: &str| report["totals"][figure].as_i64().unwrap();
    let kept = number(&booked, "net") - number(&booked, "refunds");
    prop_assert_eq!(number(&standing, "net"), kept, "both bases agree on what was kept");
    let units = number(&booked, "units") - number(&booked, "cancelled_units");
    prop_assert_eq!(number(&standing, "units"), units);
    Ok(())
}

fn run(world: &World, case: &Case) -> Result<(), TestCaseError> {
    let placed = Placed::new(world, case);
    let mut answers = placed.at_once(&case.callers);
    placed.check(&answers)?;
    check_reports(&world.shop)?;
    placed.repeat(&answers)?;
    for (turn, request) in case.then.iter().enumerate() {
        answers.push(placed.answer(placed.operation(*request), &format!("then-{turn}")));
        placed.check(&answers)?;
    }
    let whole = CancelOrder { keep_stock: case.loses_rest, ..CancelOrder::new(placed.order.id) };
    answers.push(placed.answer(whole.into(), "rest"));
    placed.check(&answers)?;
    let order = placed.now();
    prop_assert_eq!((order.status, order.refunded()), (OrderStatus::Cancelled, order.paid()));
    check_reports(&world.shop)?;
    // The coupon is free for another order, which no repeated key takes it from.
    let items = placed.products.iter().zip(&case.lines).map(|(id, (_, units))| (*id, *units));
    let next = PlaceOrder::new(placed.customer, items.collect::<Vec<_>>());
    let next = PlaceOrder { owned_coupon_id: placed.owned, ..next };
    let next: OrderId = world.shop.place_order(next, &key("next")).unwrap().id;
    placed.repeat(&answers)?;
    if let Some(id) = placed.owned {
        let owned = world.shop.owned_coupon_of(placed.customer, id).unwrap();
        prop_assert_eq!(owned.order_id, Some(next));
    }
    let last = CancelOrder { keep_stock: true, ..CancelOrder::new(next) };
    world.shop.call(last).run().unwrap();
    let report = world.shop.audit().unwrap();
    prop_assert!(report.ok, "{:#?}", report.problems);
    Ok(())
}

/// All cases of a store are orders of one shop, so that its statistics have many of them.
#[rstest]
#[case::memory(On::Memory, 96)]
#[case::sqlite(On::Sqlite, 32)]
#[case::postgres(On::Postgres, 12)]
fn any_parts_return_exactly_what_was_paid(#[case] on: On, #[case] cases: u32) {
    let world = World::new(on);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    runner.run(&case(), |case| run(&world, &case)).unwrap();
}
