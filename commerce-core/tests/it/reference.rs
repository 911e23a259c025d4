//! Generated histories of every command, edge values among them, have the same answers and leave the
//! same rows on the memory store, one at a time, and on the others, in batches of any size.

use crate::common::{CircuitBreaker, NOW, assert_clean, cluster};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, AdjustStock, AnyOperation, BestSellersRequest, CancelOrder,
    CartEdit, Charge, ChargeBalance, ChargeId, ClaimCoupon, CloseSession, CouponId, Currency,
    CustomerId, DebitBalance, Discount, EditCart, ExpireOrders, Key, ManualClock, MemoryStore,
    Money, NewLogin, OpenCharge, OpenSession, Operation, OrderId, OrderItems, OwnedCouponId,
    PasswordHash, PayOrder, PayWhen, PendingCall, PlaceOrder, ProductId, Record,
    RecordLoginAttempt, Role, SetCredentials, SettleCharge, Settlement, Shop, SqliteStore, Store,
    Table, Timestamp, TokenHash, UnlockLogin, UpdateProduct,
};
use commerce_postgres::PostgresStore;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// One call: what is asked, with which key, so many seconds after the beginning.
#[derive(Clone, Debug)]
struct Step {
    action: AnyOperation,
    key: Option<u8>,
    at: i64,
    /// The seconds by which it is decided before the clock, as history is, or ahead of it.
    past: i64,
}

/// Small ids, so that calls meet, and some that name nothing.
fn id() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1_i64..5, 1 => select(vec![0, -1, 99, i64::MAX, i64::MIN])]
}

fn amount() -> impl Strategy<Value = Money> {
    let edges = vec![
        0,
        -1,
        i64::MAX,
        i64::MIN,
        1_000_000_000_000,
        1_000_000_000_001,
        9_007_199_254_740_991,
    ];
    prop_oneof![20 => 1_i64..400, 1 => select(edges)].prop_map(Money::from_minor)
}

fn units() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1_i64..6, 1 => select(vec![0, -1, 1_000_000_000, 1_000_000_001, i64::MAX, i64::MIN])]
}

fn delta() -> impl Strategy<Value = i64> {
    let edges = vec![1_000_000_000, -1_000_000_001, i64::MAX, i64::MIN];
    prop_oneof![10 => -5_i64..9, 1 => select(edges)]
}

fn customer() -> impl Strategy<Value = CustomerId> {
    id().prop_map(CustomerId::new)
}

fn product() -> impl Strategy<Value = ProductId> {
    id().prop_map(ProductId::new)
}

fn order_id() -> impl Strategy<Value = OrderId> {
    let edges = vec![0, -1, 9_999, i64::MAX, i64::MIN];
    prop_oneof![20 => 1_i64..12, 1 => select(edges)].prop_map(OrderId::new)
}

fn index() -> impl Strategy<Value = AnyOperation> {
    let items = prop_oneof![
        5 => prop::collection::vec((product(), units()), 0..5).prop_map(OrderItems::Listed),
        1 => Just(OrderItems::Cart),
    ];
    let coupon = prop::option::weighted(0.3, id().prop_map(OwnedCouponId::new));
    let pay = prop_oneof![2 => Just(PayWhen::Now), 1 => Just(PayWhen::Later)];
    (customer(), items, coupon, pay).prop_map(|(customer_id, items, owned_coupon_id, pay)| {
        PlaceOrder { items, owned_coupon_id, pay, ..PlaceOrder::new(customer_id, []) }.into()
    })
}

fn discount() -> impl Strategy<Value = Discount> {
    let percent = prop_oneof![5 => 1_i64..101, 1 => select(vec![0, 101, i64::MIN])];
    prop_oneof![
        amount().prop_map(|amount| Discount::Fixed { amount }),
        (percent, prop::option::of(amount()))
            .prop_map(|(percent, max_amount)| Discount::Percent { percent, max_amount }),
    ]
}

fn add_coupon() -> impl Strategy<Value = AnyOperation> {
    let instant = || prop::option::of((0_i64..3_000).prop_map(|seconds| NOW.plus_seconds(seconds)));
    let least = prop::option::weighted(0.3, amount());
    (discount(), least, units(), instant(), instant()).prop_map(
        |(discount, min_order_amount, quantity, valid_from, valid_until)| {
            let name = "Spring".to_owned();
            AddCoupon { name, discount, min_order_amount, quantity, valid_from, valid_until }.into()
        },
    )
}

fn edit() -> impl Strategy<Value = CartEdit> {
    prop_oneof![
        (product(), units()).prop_map(|(id, units)| CartEdit::Set(id, units)),
        (product(), units()).prop_map(|(id, units)| CartEdit::Add(id, units)),
        product().prop_map(CartEdit::Remove),
        Just(CartEdit::Clear),
    ]
}

fn keeping() -> impl Strategy<Value = AnyOperation> {
    let name = || select(vec!["Tea", "", "a\u{7}b"]).prop_map(str::to_owned);
    prop_oneof![
        (prop::option::of(id()), name(), amount()).prop_map(|(id, name, balance)| {
            let id = id.map(CustomerId::new);
            AddCustomer { id, balance, ..AddCustomer::new(name) }.into()
        }),
        (prop::option::of(id()), name(), amount(), units()).prop_map(|(id, name, price, stock)| {
            AddProduct { id: id.map(ProductId::new), name, price, stock }.into()
        }),
        (product(), prop::option::of(name()), prop::option::of(amount())).prop_map(
            |(id, name, price)| UpdateProduct { name, price, ..UpdateProduct::new(id) }.into()
        ),
        (product(), delta()).prop_map(|(product_id, delta)| AdjustStock {
            product_id,
            delta,
            reason: "count".into()
        }
        .into()),
        product().prop_map(|product_id| UpdateProduct::archive(product_id).into()),
        add_coupon(),
    ]
}

/// Logins that few names are given for, so that they are taken, handed on and tried in vain.
fn access() -> impl Strategy<Value = AnyOperation> {
    let name = || select(vec!["kim", "lee", "", "two words"]).prop_map(str::to_owned);
    let token = || (0_u8..4).prop_map(|byte| TokenHash::new([byte; 32]));
    let new = || {
        let password = PasswordHash::new("$argon2id$v=19$...");
        name().prop_map(move |login| NewLogin {
            login,
            password: password.clone(),
            role: Role::Admin,
        })
    };
    prop_oneof![
        (customer(), new())
            .prop_map(|(customer_id, login)| SetCredentials { customer_id, login }.into()),
        new().prop_map(|login| {
            AddCustomer { login: Some(login), ..AddCustomer::new("Choi") }.into()
        }),
        name().prop_map(|login| RecordLoginAttempt { login }.into()),
        customer().prop_map(|customer_id| UnlockLogin { customer_id }.into()),
        (customer(), prop::option::of(name()), token(), 0_i64..3_000).prop_map(
            |(customer_id, login, token, seconds)| {
                let expires_at = NOW.plus_seconds(seconds);
                OpenSession { customer_id, login, token, expires_at }.into()
            }
        ),
        token().prop_map(|token| CloseSession { token }.into()),
    ]
}

/// Charges by way of a gateway, and what it says of them: early, late, twice and the other way round.
fn charging() -> impl Strategy<Value = AnyOperation> {
    let method = prop::option::of(select(vec!["card", ""]));
    let settlement =
        prop_oneof![Just(Settlement::Paid), Just(Settlement::Declined("no money".into()))];
    prop_oneof![
        (customer(), amount(), method, any::<u128>()).prop_map(
            |(customer_id, amount, method, reference)| OpenCharge {
                customer_id,
                amount,
                payment_method: method.map(str::to_owned),
                gateway: "double".into(),
                reference: format!("{reference:032x}"),
            }
            .into()
        ),
        (1_i64..16, settlement).prop_map(|(id, settlement)| {
            SettleCharge { charge_id: ChargeId::new(id), settlement }.into()
        }),
    ]
}

fn action() -> impl Strategy<Value = AnyOperation> {
    prop_oneof![
        2 => keeping(),
        1 => access(),
        2 => (customer(), amount())
            .prop_map(|(customer_id, amount)| ChargeBalance { customer_id, amount }.into()),
        3 => charging(),
        1 => (customer(), amount())
            .prop_map(|(customer_id, amount)| DebitBalance { customer_id, amount, note: None }.into()),
        2 => (customer(), edit()).prop_map(|(customer_id, edit)| EditCart { customer_id, edit }.into()),
        2 => (id(), customer()).prop_map(|(coupon, customer_id)| {
            ClaimCoupon { coupon_id: CouponId::new(coupon), customer_id }.into()
        }),
        6 => index(),
        2 => order_id().prop_map(|order_id| PayOrder { order_id }.into()),
        2 => order_id().prop_map(|order_id| CancelOrder { order_id }.into()),
        1 => Just(ExpireOrders.into()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::weighted(0.6, 0_u8..30);
    // Back and forth, past holds and ends of coupons, and days ahead: clocks lie, and every rule must
    // bear it.
    let edges = vec![-1, 899, 900, 1_999, 2_000, 86_400, 3 * 86_400, 40 * 86_400];
    let at = prop_oneof![8 => 0_i64..3_000, 2 => select(edges)];
    let past = prop_oneof![8 => Just(0_i64), 2 => select(vec![-1, 1, 900, 2_000])];
    (action(), key, at, past).prop_map(|(action, key, at, past)| Step { action, key, at, past })
}

/// Where every history begins: four customers with money, four products, two coupons.
fn beginning() -> Vec<Step> {
    let at = |action: AnyOperation| Step { action, key: None, at: 0, past: 0 };
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(at(
            AddCustomer { balance: Money::from_minor(900), ..AddCustomer::new("Kim") }.into()
        ));
        steps.push(at(AddProduct::new("Tea", Money::from_minor(70), 9).into()));
    }
    for percent in [10, 55] {
        let discount = Discount::Percent { percent, max_amount: None };
        let name = "Spring".to_owned();
        let (valid_from, valid_until) = (Some(NOW), Some(NOW.plus_seconds(2_000)));
        let least = None;
        let coupon = AddCoupon {
            name,
            discount,
            min_order_amount: least,
            quantity: 3,
            valid_from,
            valid_until,
        };
        steps.push(at(coupon.into()));
    }
    steps
}

/// Runs the steps, `batch` decided together, and writes each answer down.
fn run<S: Store>(
    (shop, clock): &(Shop, Arc<ManualClock>),
    gate: &CircuitBreaker<S>,
    steps: &[Step],
    batch: usize,
) -> Vec<String> {
    let mut answers = Vec::new();
    for steps in steps.chunks(batch) {
        gate.shut();
        let tickets: Vec<Box<dyn FnOnce() -> String + '_>> =
            steps.iter().map(|step| submitted(shop, clock, step)).collect();
        gate.open();
        answers.extend(tickets.into_iter().map(|wait| wait()));
    }
    answers
}

fn submitted<'a>(
    shop: &'a Shop,
    clock: &ManualClock,
    step: &Step,
) -> Box<dyn FnOnce() -> String + 'a> {
    fn go<'a, R: Operation<Output: std::fmt::Debug + 'a> + 'a>(
        shop: &'a Shop,
        request: R,
        step: &Step,
    ) -> Box<dyn FnOnce() -> String + 'a> {
        let call = shop.call_at(request, NOW.plus_seconds(step.at - step.past));
        let ticket: PendingCall<R::Output> = match step.key {
            Some(number) => call.key(&Key::new(&format!("key-{number}")).unwrap()).submit(),
            None => call.submit(),
        };
        Box::new(move || format!("{:?}", ticket.outcome()))
    }
    clock.set(NOW.plus_seconds(step.at));
    match step.action.clone() {
        // What there is to take up depends on what is committed already; `deliveries.rs` has their histories.
        AnyOperation::RelayEvents(request) => go(shop, request, step),
        AnyOperation::RetryEvents(request) => go(shop, request, step),
        AnyOperation::ReplayEvents(request) => go(shop, request, step),
        AnyOperation::AddCustomer(request) => go(shop, request, step),
        AnyOperation::AddProduct(request) => go(shop, request, step),
        AnyOperation::UpdateProduct(request) => go(shop, request, step),
        AnyOperation::AdjustStock(request) => go(shop, request, step),
        AnyOperation::SetCredentials(request) => go(shop, request, step),
        AnyOperation::RecordLoginAttempt(request) => go(shop, request, step),
        AnyOperation::UnlockLogin(request) => go(shop, request, step),
        AnyOperation::OpenSession(request) => go(shop, request, step),
        AnyOperation::CloseSession(request) => go(shop, request, step),
        AnyOperation::AddCoupon(request) => go(shop, request, step),
        AnyOperation::ChargeBalance(request) => go(shop, request, step),
        AnyOperation::OpenCharge(request) => go(shop, request, step),
        AnyOperation::SettleCharge(request) => go(shop, request, step),
        AnyOperation::DebitBalance(request) => go(shop, request, step),
        AnyOperation::EditCart(request) => go(shop, request, step),
        AnyOperation::ClaimCoupon(request) => go(shop, request, step),
        AnyOperation::PlaceOrder(request) => go(shop, request, step),
        AnyOperation::PayOrder(request) => go(shop, request, step),
        AnyOperation::CancelOrder(request) => go(shop, request, step),
        AnyOperation::ExpireOrders(request) => go(shop, request, step),
    }
}

/// Sales are counted in other buckets, and the names of epochs are random.
fn is_alike(table: Table) -> bool {
    !matches!(table, Table::Sales | Table::Epochs)
}

/// Every row of every table whose form is the same on all stores.
fn rows(store: &dyn Store) -> Vec<Record> {
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for table in Table::ALL.into_iter().filter(|table| is_alike(*table)) {
        snapshot.scan(table, &mut |row| rows.push(row)).unwrap();
    }
    rows
}

fn rankings(shop: &Shop) -> Vec<String> {
    let day = 86_400;
    let instants =
        [-1, 0, 500, 1_499, 2_999, day, 3 * day, 3 * day + 2_000, 6 * day, 40 * day, 43 * day];
    let at = |seconds: i64| Some(Timestamp::from_unix(NOW.unix() + seconds));
    let ask = |seconds| BestSellersRequest { at: at(seconds), ..Default::default() };
    instants.map(|seconds| format!("{:?}", shop.best_sellers(&ask(seconds)).unwrap())).to_vec()
}

/// The history on the memory store and on another: the same answers, the same rows, the same rankings.
fn agree<S: Store + 'static>(
    history: Vec<Step>,
    batch: usize,
    store: S,
) -> Result<(), TestCaseError> {
    let steps: Vec<Step> = beginning().into_iter().chain(history).collect();
    let memory = CircuitBreaker::new(MemoryStore::new(Currency::KRW));
    let gate = CircuitBreaker::new(store);
    let reference = with_clock(Arc::clone(&memory));
    let tested = with_clock(Arc::clone(&gate));

    let expected = run(&reference, &memory, &steps, 1);
    let answers = run(&tested, &gate, &steps, batch);
    for ((step, expected), answer) in steps.iter().zip(expected).zip(answers) {
        prop_assert_eq!(expected, answer, "{:?}", step);
    }
    let (expected, found) = (rows(&*memory), rows(&*gate));
    for (expected, found) in expected.iter().zip(&found) {
        prop_assert_eq!(expected, found);
    }
    prop_assert_eq!(expected.len(), found.len());
    prop_assert_eq!(rankings(&reference.0), rankings(&tested.0));
    assert_clean(&reference.0);
    assert_clean(&tested.0);
    Ok(())
}

/// A shop and the clock that its calls go by.
fn with_clock(store: impl Store + 'static) -> (Shop, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    (Shop::builder().clock(Arc::clone(&clock)).open(store), clock)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn sqlite_agrees(history in prop::collection::vec(step(), 1..120), batch in 2_usize..40) {
        let folder = tempfile::tempdir().unwrap();
        agree(history, batch, SqliteStore::open(&folder.path().join("shop.db")).unwrap())?;
    }

    #[test]
    fn postgres_agrees(history in prop::collection::vec(step(), 1..120), batch in 2_usize..40) {
        agree(history, batch, PostgresStore::open(&cluster::shared().database()).unwrap())?;
    }
}

/// What the answers of two stores are compared by says all there is to say.
#[test]
fn an_answer_written_down_names_its_numbers() {
    let shop = Shop::open(MemoryStore::new(Currency::KRW));
    let kim = shop.call(AddCustomer::new("Kim")).run().unwrap();
    let charge: Charge =
        shop.charge(kim.id, Money::from_minor(731), &Key::new("k").unwrap()).unwrap();
    assert!(format!("{charge:?}").contains("731"));
}
