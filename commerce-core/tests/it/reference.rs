//! Generated histories of every operation, edge values included, checked in two ways.
//!
//! An independent [`model`] of the rules predicts every answer, row and ranking. And every store, in batches
//! of any size, leaves the same rows as the memory store does one call at a time.
//!
//! A history that fails is shrunk, and its seed is kept in `reference.proptest-regressions`, to be run first from
//! then on: commit that file.

mod lists;
mod model;

use crate::common::{NOW, PausableStore, assert_clean, cluster};
use commerce_core::store::{Record, Table, TokenHash};
use commerce_core::testing::{
    AnyOperation, ChangePassword, CloseSession, CreateToken, ExpireOrders, Notice, OpenCharge,
    OpenSession, RecordLoginAttempt, RecordNotice, RecordTokenUse, RevokeSession, SetCredentials,
    SettleCharge, SettleRefund, Settlement,
};
use commerce_core::{
    Actor, AddCoupon, AddCustomer, AddProduct, AdjustStock, BalanceReportRequest, Basis,
    BelowMinimum, BestSellersRequest, CancelOrder, CartEdit, ChangeSettings, ChargeBalance,
    ChargeId, ClaimCoupon, Code, CouponId, CouponReportRequest, Currency, CustomerId,
    CustomerStatus, DebitBalance, Discount, EditCart, EraseCustomer, Error, Key, LineCancellation,
    ManualClock, MemoryStore, Money, NewLogin, Operation, OrderId, OrderItems, OwnedCouponId,
    PasswordHash, PastLine, PastTerms, Patch, PayOrder, PayWhen, PendingCall, Period, PlaceOrder,
    ProductId, ProductReportRequest, ProductStatus, Proof, RankBy, RefundCharge, RefundId,
    ReportRequest, RevokeToken, Role, SalesReportRequest, SetRole, Shop, SqliteStore,
    StockReportRequest, Store, Timestamp, TokenId, UnlockLogin, UpdateCoupon, UpdateCustomer,
    UpdateProduct, Window, share_of_units,
};
use commerce_postgres::PostgresStore;
use model::{Answer, Model, Output, ZONES};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One call: the operation, its key, and its instant in seconds after [`NOW`].
#[derive(Clone, Debug)]
struct Step {
    operation: AnyOperation,
    key: Option<u8>,
    /// The instant the clock shows.
    clock: i64,
    /// The seconds by which the call is decided before that instant (imports), or after it if negative.
    before: i64,
    actor: Option<Actor>,
}

/// Small ids, so that calls meet on the same rows, and some ids that do not exist.
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

/// Customer 5 has neither money nor a charge that is pending, and can be erased.
fn customer() -> impl Strategy<Value = CustomerId> {
    prop_oneof![6 => id(), 1 => Just(5_i64)].prop_map(CustomerId::new)
}

fn product() -> impl Strategy<Value = ProductId> {
    id().prop_map(ProductId::new)
}

fn order_id() -> impl Strategy<Value = OrderId> {
    let edges = vec![0, -1, 9_999, i64::MAX, i64::MIN];
    prop_oneof![20 => 1_i64..8, 1 => select(edges)].prop_map(OrderId::new)
}

fn place_order() -> impl Strategy<Value = AnyOperation> {
    let items = prop_oneof![
        5 => prop::collection::vec((product(), units()), 0..5).prop_map(OrderItems::Listed),
        1 => Just(OrderItems::Cart),
    ];
    let pay = prop_oneof![2 => Just(PayWhen::Now), 1 => Just(PayWhen::Later)];
    // Customers 1 to 3 own the coupon of the same number from the opening.
    let coupon =
        prop::option::weighted(0.4, prop_oneof![3 => Just(None), 1 => id().prop_map(Some)]);
    let reference =
        prop::option::weighted(0.15, select(vec!["web-1", "web-1", "web-2", "", "a\0b"]));
    (customer(), items, coupon, pay, reference, past()).prop_map(
        |(customer_id, items, coupon, pay, reference, past)| {
            let owned =
                |coupon: Option<i64>| OwnedCouponId::new(coupon.unwrap_or(customer_id.get()));
            let owned_coupon_id = coupon.map(owned).filter(|_| past.is_none());
            // The number of an order of the past is mostly unique.
            let of_past = past.as_ref().and_then(|(past, reference)| {
                reference.map(|number| format!("{number}-{}", past.discount.minor()))
            });
            let reference = of_past.or(reference.map(str::to_owned));
            let past = past.map(|(past, _)| past);
            PlaceOrder { customer_id, items, owned_coupon_id, pay, reference, past }.into()
        },
    )
}

/// The terms of an order of the past, and a part of its number.
fn past() -> impl Strategy<Value = Option<(PastTerms, Option<u64>)>> {
    let discount = prop_oneof![2 => Just(0), 4 => 1_i64..90, 1 => select(vec![-1, i64::MAX])];
    let name = prop::option::of(select(vec!["Old", ""]).prop_map(str::to_owned));
    let unit_price = prop::option::weighted(0.8, amount());
    let line = (name, unit_price).prop_map(|(name, unit_price)| {
        let regular_price = unit_price.and_then(regular_price);
        PastLine { name, unit_price, regular_price }
    });
    let lines = prop::collection::btree_map(product(), line, 0..3);
    let discount = discount.prop_map(Money::from_minor);
    let terms = (lines, discount).prop_map(|(lines, discount)| PastTerms { lines, discount });
    prop::option::weighted(0.15, (terms, prop::option::weighted(0.9, any::<u64>())))
}

/// Returns a regular price for some unit prices, rarely one below it.
fn regular_price(unit_price: Money) -> Option<Money> {
    let unit = unit_price.minor();
    match unit.rem_euclid(16) {
        1 | 5 | 9 => Some(Money::from_minor(unit.saturating_add(30))),
        3 => Some(Money::from_minor(unit.saturating_sub(1))),
        _ => None,
    }
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
    let minimum = (prop::option::weighted(0.4, amount()), select(BelowMinimum::ALL.to_vec()));
    (discount(), minimum, units(), instant(), instant()).prop_map(
        |(discount, (min_order_amount, below_minimum), quantity, valid_from, valid_until)| {
            let name = "Spring".to_owned();
            AddCoupon {
                below_minimum,
                name,
                discount,
                min_order_amount,
                quantity,
                valid_from,
                valid_until,
            }
            .into()
        },
    )
}

fn update_coupon() -> impl Strategy<Value = AnyOperation> {
    let instant = (0_i64..3_000).prop_map(|seconds| NOW.plus_seconds(seconds));
    let name = prop::option::weighted(0.2, select(vec!["Summer", ""]))
        .prop_map(|name| name.map(str::to_owned));
    let stopped = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    (id(), name, prop::option::of(units()), patch(instant), stopped).prop_map(
        |(coupon, name, quantity, valid_until, stopped)| {
            let coupon_id = CouponId::new(coupon);
            UpdateCoupon { coupon_id, name, quantity, valid_until, stopped }.into()
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

/// A zone, with its offset.
fn zone() -> impl Strategy<Value = (&'static str, i64)> {
    select(ZONES.to_vec())
}

/// A request for a sales report, which the model predicts too: its window in seconds after [`NOW`], its zone, its
/// periods and its basis.
#[derive(Clone, Debug)]
struct Report {
    from: i64,
    length: i64,
    zone: (&'static str, i64),
    by: Period,
    basis: Basis,
}

/// Windows of seconds and of weeks, with both ends at any second. They end before 8 March 2026, when New York changes
/// its clock.
fn reports() -> impl Strategy<Value = Vec<Report>> {
    let from = prop_oneof![-5_000_i64..5_000, -90_000_i64..90_000, -3_000_000_i64..2_200_000];
    let length = prop_oneof![1_i64..4_000, 1_i64..200_000, 1_i64..3_500_000];
    let by = select(vec![Period::Hour, Period::Day, Period::Week]);
    let basis = select(vec![Basis::Booked, Basis::Standing]);
    let report = (from, length, zone(), by, basis)
        .prop_map(|(from, length, zone, by, basis)| Report { from, length, zone, by, basis });
    prop::collection::vec(report, 1..4)
}

/// Mostly unchanged; archived products come back, or the shop would run out of them.
fn status() -> impl Strategy<Value = Option<ProductStatus>> {
    prop::option::weighted(0.3, Just(ProductStatus::Active))
}

/// A patch that sets a value, removes it, or mostly keeps it.
fn patch<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Patch<T>> {
    prop_oneof![
        4 => Just(()).prop_map(|()| Patch::Keep),
        1 => Just(()).prop_map(|()| Patch::Remove),
        3 => value.prop_map(Patch::Set),
    ]
}

/// Updates of sales, thresholds and limits.
fn terms() -> impl Strategy<Value = AnyOperation> {
    let instant = || (0_i64..3_000).prop_map(|seconds| NOW.plus_seconds(seconds));
    let price = prop_oneof![4 => (1_i64..70).prop_map(Money::from_minor), 1 => amount()];
    let sale = (patch(price), prop::option::of(instant()), patch(instant()));
    let new_price = prop::option::weighted(0.2, amount());
    let threshold = patch(prop_oneof![3 => 0_i64..9, 1 => units()]);
    let limit = patch(prop_oneof![6 => 1_i64..6, 1 => units()]);
    (product(), sale, new_price, (threshold, limit), status()).prop_map(
        |(product_id, (sale_price, sale_from, sale_until), price, (threshold, limit), status)| {
            UpdateProduct {
                price,
                status,
                sale_price,
                sale_from,
                sale_until,
                low_stock_threshold: threshold,
                limit_per_customer: limit,
                ..UpdateProduct::new(product_id)
            }
            .into()
        },
    )
}

fn catalog() -> impl Strategy<Value = AnyOperation> {
    let name = || select(vec!["Tea", "", "a\u{7}b"]).prop_map(str::to_owned);
    prop_oneof![
        (prop::option::of(id()), name(), amount()).prop_map(|(id, name, balance)| {
            let id = id.map(CustomerId::new);
            AddCustomer { id, balance, ..AddCustomer::new(name) }.into()
        }),
        (prop::option::of(id()), name(), amount(), units()).prop_map(|(id, name, price, stock)| {
            AddProduct { id: id.map(ProductId::new), name, price, stock }.into()
        }),
        (product(), prop::option::of(name()), prop::option::of(amount()), status()).prop_map(
            |(product_id, name, price, status)| {
                UpdateProduct { name, price, status, ..UpdateProduct::new(product_id) }.into()
            }
        ),
        terms(),
        (product(), delta()).prop_map(|(product_id, delta)| AdjustStock {
            product_id,
            delta,
            reason: "count".into()
        }
        .into()),
        product().prop_map(|product_id| UpdateProduct::archive(product_id).into()),
        add_coupon(),
        update_coupon(),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Customer, Role::Reader, Role::Clerk, Role::Admin, Role::Admin])
}

/// Tokens, and the uses of some that do not exist.
fn tokens() -> impl Strategy<Value = AnyOperation> {
    let token = || id().prop_map(TokenId::new);
    let days = prop_oneof![3 => 1_i64..4, 1 => select(vec![0, 3_650, 3_651, i64::MAX])];
    prop_oneof![
        2 => (select(vec!["till", ""]), role(), prop::option::of(days)).prop_map(|(name, role, days)| {
            CreateToken { name: name.to_owned(), role, days, hash: String::new() }.into()
        }),
        2 => token().prop_map(|token_id| RevokeToken { token_id }.into()),
        2 => token().prop_map(|token_id| RecordTokenUse { token_id }.into()),
    ]
}

/// The customer concerned or another, the command line, or the token of the opening.
fn actor() -> impl Strategy<Value = Option<Actor>> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(Actor::Cli)),
        1 => Just(Some(Actor::Token(TokenId::new(1)))),
        3 => (1_i64..4).prop_map(|id| Some(Actor::Customer(CustomerId::new(id)))),
    ]
}

/// Logins of few names, so that they are taken, reassigned and attempted without success.
fn logins() -> impl Strategy<Value = AnyOperation> {
    let names = vec!["kim", "kim", "kim", "lee", "", "two words"];
    let name = move || select(names.clone()).prop_map(str::to_owned);
    let token = || (0_u8..4).prop_map(|byte| TokenHash::new([byte; 32]));
    let new = || {
        let password = PasswordHash::new("$argon2id$v=19$...");
        (name(), prop::option::of(role())).prop_map(move |(login, role)| NewLogin {
            login,
            password: password.clone(),
            role,
        })
    };
    prop_oneof![
        2 => (customer(), new())
            .prop_map(|(customer_id, login)| SetCredentials { customer_id, login }.into()),
        1 => new().prop_map(|login| {
            AddCustomer { login: Some(login), ..AddCustomer::new("Choi") }.into()
        }),
        2 => (customer(), role())
            .prop_map(|(customer_id, role)| SetRole { customer_id, role }.into()),
        6 => name().prop_map(|login| RecordLoginAttempt { login }.into()),
        1 => customer().prop_map(|customer_id| UnlockLogin { customer_id }.into()),
        1 => (customer(), prop::option::of(name()), token(), 0_i64..3_000).prop_map(
            |(customer_id, login, token, seconds)| {
                let expires_at = NOW.plus_seconds(seconds);
                OpenSession { customer_id, login, token, expires_at }.into()
            }
        ),
        1 => token().prop_map(|token| CloseSession { token }.into()),
    ]
}

/// Changes of customers: profile, password, sessions and erasure.
fn profiles() -> impl Strategy<Value = AnyOperation> {
    let token = || (0_u8..4).prop_map(|byte| TokenHash::new([byte; 32]));
    let hash = || {
        select(vec!["$argon2id$v=19$...", "$argon2id$v=19$,,,"])
            .prop_map(|phc: &str| PasswordHash::new(phc))
    };
    let name = prop::option::of(select(vec!["Kim", "", "a\u{7}b"]).prop_map(str::to_owned));
    let statuses = vec![
        CustomerStatus::Active,
        CustomerStatus::Active,
        CustomerStatus::Disabled,
        CustomerStatus::Erased,
    ];
    let status = prop::option::of(select(statuses));
    let erased = prop_oneof![1 => customer(), 1 => Just(CustomerId::new(5))];
    prop_oneof![
        2 => (customer(), name, status).prop_map(|(customer_id, name, status)| {
            UpdateCustomer { customer_id, name, status }.into()
        }),
        2 => (customer(), prop::option::of(hash()), hash(), prop::option::of(token())).prop_map(
            |(customer_id, current, password, session)| {
                ChangePassword { customer_id, current, password, session }.into()
            }
        ),
        1 => (customer(), token()).prop_map(|(customer_id, token)| {
            RevokeSession { customer_id, token }.into()
        }),
        1 => erased.prop_map(|customer_id| EraseCustomer { customer_id }.into()),
    ]
}

/// Charges through a gateway, and its results: early, late, repeated and contradictory.
fn gateway_charges() -> impl Strategy<Value = AnyOperation> {
    let method = prop::option::of(select(vec!["card", ""]));
    let settlement =
        prop_oneof![Just(Settlement::Paid), Just(Settlement::Declined("no money".into()))];
    prop_oneof![
        (customer(), amount(), method).prop_map(|(customer_id, amount, method)| {
            let payment_method = method.map(str::to_owned);
            let (gateway, reference) = ("double".into(), String::new());
            OpenCharge { customer_id, amount, payment_method, gateway, reference }.into()
        }),
        (6_i64..15, settlement).prop_map(|(id, settlement)| {
            SettleCharge { charge_id: ChargeId::new(id), settlement }.into()
        }),
    ]
}

/// Cancellations of parts, and some without a return to the stock.
fn cancel_part() -> impl Strategy<Value = AnyOperation> {
    let units = prop_oneof![20 => 1_i64..4, 1 => units()];
    let items = prop::collection::vec((product(), units), 0..3);
    let items = prop::option::weighted(0.9, items);
    (order_id(), items, prop::bool::weighted(0.2)).prop_map(|(order_id, items, keep_stock)| {
        CancelOrder { order_id, items, keep_stock }.into()
    })
}

/// Refunds of charges with and without a gateway, their results, and notices of the gateway: early, late, repeated and
/// contradictory.
fn refunds() -> impl Strategy<Value = AnyOperation> {
    let charge = || (1_i64..15).prop_map(ChargeId::new);
    let money = || {
        let large = select(vec![0, 500, 1_000_000_000_000, 1_000_000_000_001]);
        prop_oneof![8 => 1_i64..400, 2 => large].prop_map(Money::from_minor)
    };
    let reported = || {
        let reference = prop::option::of(select(vec!["x", "y"]).prop_map(str::to_owned));
        (reference, 0_i64..300).prop_map(|(reference, amount)| commerce_core::ReportedRefund {
            reference,
            amount: Money::from_minor(amount),
        })
    };
    let dispute = || (charge(), 0_u8..3);
    let name = |charge: ChargeId, number: u8| format!("dp_{charge}_{number}");
    let settlement =
        prop_oneof![Just(Settlement::Paid), Just(Settlement::Declined("no money".into()))];
    let customer = prop::option::weighted(0.2, customer());
    prop_oneof![
        4 => (charge(), prop::option::weighted(0.8, money()), customer).prop_map(
            |(charge_id, amount, customer_id)| {
                RefundCharge { charge_id, amount, customer_id, reference: Some(String::new()) }.into()
            }
        ),
        3 => (5_i64..40, settlement).prop_map(|(id, settlement)| {
            SettleRefund { refund_id: RefundId::new(id), settlement }.into()
        }),
        2 => (charge(), prop::collection::vec(reported(), 0..3)).prop_map(|(charge_id, refunds)| {
            RecordNotice { charge_id, notice: Notice::Refunded { refunds } }.into()
        }),
        2 => (dispute(), money()).prop_map(move |((charge_id, number), amount)| {
            let dispute = name(charge_id, number);
            RecordNotice { charge_id, notice: Notice::DisputeOpened { dispute, amount } }.into()
        }),
        2 => (dispute(), money(), any::<bool>()).prop_map(
            move |((charge_id, number), amount, is_won)| {
                let dispute = name(charge_id, number);
                let notice = Notice::DisputeClosed { dispute, amount, is_won };
                RecordNotice { charge_id, notice }.into()
            }
        ),
    ]
}

fn operation() -> impl Strategy<Value = AnyOperation> {
    prop_oneof![
        2 => catalog(),
        3 => logins(),
        1 => tokens(),
        2 => (customer(), amount())
            .prop_map(|(customer_id, amount)| ChargeBalance { customer_id, amount }.into()),
        4 => gateway_charges(),
        3 => refunds(),
        3 => profiles(),
        1 => (customer(), amount(), prop::option::of(Just("gift".to_owned()))).prop_map(
            |(customer_id, amount, note)| DebitBalance { customer_id, amount, note }.into()
        ),
        2 => (customer(), edit()).prop_map(|(customer_id, edit)| EditCart { customer_id, edit }.into()),
        2 => (id(), customer()).prop_map(|(coupon, customer_id)| {
            ClaimCoupon { coupon_id: CouponId::new(coupon), customer_id }.into()
        }),
        6 => place_order(),
        2 => order_id().prop_map(|order_id| PayOrder { order_id }.into()),
        2 => order_id().prop_map(|order_id| CancelOrder::new(order_id).into()),
        3 => cancel_part(),
        1 => Just(ExpireOrders.into()),
        1 => zone().prop_map(|(name, _)| ChangeSettings { zone: name.parse().unwrap() }.into()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::weighted(0.6, 0_u8..30);
    // Back and forth, past holds and ends of coupons, and days ahead: every rule must tolerate a clock that is
    // set forward or back.
    let edges = vec![-1, 899, 900, 1_999, 2_000, 86_400, 3 * 86_400, 40 * 86_400];
    let clock = prop_oneof![8 => 0_i64..3_000, 2 => select(edges)];
    let before = prop_oneof![8 => Just(0_i64), 2 => select(vec![-1, 1, 900, 2_000])];
    (operation(), key, clock, before, actor()).prop_map(|(operation, key, clock, before, actor)| {
        Step { operation, key, clock, before, actor }
    })
}

/// A history. Some of its calls are retries of an earlier one, with its operation and key; eight at once are enough to
/// lock a login.
fn history() -> impl Strategy<Value = Vec<Step>> {
    let retry = prop::option::weighted(0.2, (any::<Index>(), select(vec![1, 1, 1, 1, 8])));
    prop::collection::vec((step(), retry), 1..100).prop_map(|calls| {
        let mut steps = opening();
        for (step, retry) in calls {
            let (operation, key, count) = match retry {
                Some((earlier, count)) => {
                    let Step { operation, key, .. } = earlier.get(&steps).clone();
                    (operation, key, count)
                }
                None => (step.operation, step.key, 1),
            };
            for _ in 0..count {
                let operation = with_reference(operation.clone(), steps.len());
                steps.push(Step { operation, key, ..step });
            }
        }
        steps
    })
}

/// Gives a gateway charge the unique reference, and a token the unique hash, that every request has, retries included.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other operations have no such text")]
fn with_reference(operation: AnyOperation, number: usize) -> AnyOperation {
    match operation {
        AnyOperation::OpenCharge(charge) => {
            OpenCharge { reference: format!("{number:032x}"), ..charge }.into()
        }
        AnyOperation::RefundCharge(refund) => {
            let reference = refund.reference.map(|_| format!("{number:032x}"));
            RefundCharge { reference, ..refund }.into()
        }
        AnyOperation::CreateToken(token) => {
            CreateToken { hash: format!("{number:064x}"), ..token }.into()
        }
        operation => operation,
    }
}

/// The opening of every history: four customers with money, four products, two coupons of which some are claimed, an order
/// to be paid later, of more than its customer has, a paid one with a coupon that needs a minimum, a token, an admin and a customer who can be erased.
fn opening() -> Vec<Step> {
    let at_once = |operation| Step { operation, key: None, clock: 0, before: 0, actor: None };
    let customer =
        |balance| AddCustomer { balance: Money::from_minor(balance), ..AddCustomer::new("Kim") };
    let product = AddProduct::new("Tea", Money::from_minor(70), 9);
    let coupon = |percent, minimum: Option<i64>| AddCoupon {
        below_minimum: minimum.map_or(BelowMinimum::Keep, |_| BelowMinimum::Recalculate),
        name: "Spring".to_owned(),
        discount: Discount::Percent { percent, max_amount: None },
        min_order_amount: minimum.map(Money::from_minor),
        quantity: 3,
        valid_from: Some(NOW),
        valid_until: Some(NOW.plus_seconds(2_000)),
    };
    let claim = |coupon, customer| ClaimCoupon {
        coupon_id: CouponId::new(coupon),
        customer_id: CustomerId::new(customer),
    };
    let mut operations: Vec<AnyOperation> = Vec::new();
    for balance in [900, 900, 900, 300] {
        operations.extend([customer(balance).into(), product.clone().into()]);
    }
    operations.extend([coupon(10, None).into(), coupon(55, Some(200)).into()]);
    operations.extend([(1, 1), (1, 2), (2, 3), (2, 4)].map(|(c, owner)| claim(c, owner).into()));
    let order = PlaceOrder::new(CustomerId::new(4), [(ProductId::new(1), 5)]);
    operations.push(PlaceOrder { pay: PayWhen::Later, ..order }.into());
    // Its discount is kept back when two units are left.
    let items = [(ProductId::new(1), 2), (ProductId::new(2), 2)];
    let order = PlaceOrder::new(CustomerId::new(3), items);
    let owned_coupon_id = Some(OwnedCouponId::new(3));
    operations.push(PlaceOrder { owned_coupon_id, ..order }.into());
    let (name, hash) = ("till".to_owned(), "0".repeat(64));
    operations.push(CreateToken { name, role: Role::Clerk, days: None, hash }.into());
    let password = PasswordHash::new("$argon2id$v=19$...");
    let login = NewLogin { login: "boss".to_owned(), password, role: Some(Role::Admin) };
    operations.push(SetCredentials { customer_id: CustomerId::new(1), login }.into());
    let mut steps: Vec<Step> = operations.into_iter().map(at_once).collect();
    steps.extend(to_be_erased());
    steps
}

/// A customer without money who can be erased, with personal data in each table that has any, and keys to all of it.
fn to_be_erased() -> impl Iterator<Item = Step> {
    let (customer_id, amount) = (CustomerId::new(5), Money::from_minor(40));
    let login = NewLogin {
        login: "park".to_owned(),
        password: PasswordHash::new("$argon2id$v=19$..."),
        role: Some(Role::Customer),
    };
    let add =
        || AddCustomer { balance: amount, login: Some(login.clone()), ..AddCustomer::new("Park") };
    let charge = OpenCharge {
        customer_id,
        amount,
        payment_method: Some("card of Park".to_owned()),
        gateway: "double".into(),
        reference: "of Park".into(),
    };
    let settlement = Settlement::Declined("no money".into());
    let edit = CartEdit::Set(ProductId::new(2), 1);
    let operations: [AnyOperation; 8] = [
        add().into(),
        add().into(),
        DebitBalance { customer_id, amount, note: Some("gift of Park".to_owned()) }.into(),
        charge.into(),
        SettleCharge { charge_id: ChargeId::new(6), settlement }.into(),
        EditCart { customer_id, edit }.into(),
        UpdateCustomer { customer_id, name: Some("Park II".to_owned()), status: None }.into(),
        OpenSession {
            customer_id,
            login: None,
            token: TokenHash::new([0; 32]),
            expires_at: NOW.plus_seconds(3_000),
        }
        .into(),
    ];
    (30..).zip(operations).map(|(key, operation)| Step {
        operation,
        actor: None,
        key: Some(key),
        clock: 0,
        before: 0,
    })
}

impl Step {
    fn clock(&self) -> Timestamp {
        NOW.plus_seconds(self.clock)
    }

    fn now(&self) -> Timestamp {
        NOW.plus_seconds(self.clock - self.before)
    }

    fn key(&self) -> Option<Key> {
        self.key.map(|number| Key::new(&format!("key-{number}")).unwrap())
    }
}

/// Runs the steps in batches of `batch` calls per commit, and returns the answers.
fn run<S: Store>(
    (shop, clock): &(Shop, Arc<ManualClock>),
    pausable: &PausableStore<S>,
    steps: &[Step],
    batch: usize,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    for steps in steps.chunks(batch) {
        pausable.pause();
        let calls: Vec<_> = steps.iter().map(|step| submit(shop, clock, step)).collect();
        pausable.resume();
        answers.extend(calls.into_iter().map(|wait| wait()));
    }
    answers
}

/// A submitted call; it returns the answer once the call is decided.
type Submitted<'a> = Box<dyn FnOnce() -> Answer + 'a>;

fn submit<'a>(shop: &'a Shop, clock: &ManualClock, step: &Step) -> Submitted<'a> {
    fn go<'a, R: Operation<Output: Into<Output> + 'a> + 'a>(
        shop: &'a Shop,
        request: R,
        step: &Step,
    ) -> Submitted<'a> {
        let call = shop.call_at(request, step.now()).actor(step.actor);
        let pending: PendingCall<R::Output> = match step.key() {
            Some(key) => call.key(&key).submit(),
            None => call.submit(),
        };
        Box::new(move || {
            let outcome = pending.outcome();
            let result = outcome.result.map(Into::into).map_err(|error| {
                let Error::Refused(refusal) = error else { panic!("{error}") };
                refusal
            });
            Answer::new(result, outcome.replayed)
        })
    }
    clock.set(step.clock());
    match step.operation.clone() {
        AnyOperation::AddCustomer(request) => go(shop, request, step),
        AnyOperation::UpdateCustomer(request) => go(shop, request, step),
        AnyOperation::EraseCustomer(request) => go(shop, request, step),
        AnyOperation::ChangePassword(request) => go(shop, request, step),
        AnyOperation::RevokeSession(request) => go(shop, request, step),
        AnyOperation::AddProduct(request) => go(shop, request, step),
        AnyOperation::UpdateProduct(request) => go(shop, request, step),
        AnyOperation::AdjustStock(request) => go(shop, request, step),
        AnyOperation::SetCredentials(request) => go(shop, request, step),
        AnyOperation::SetRole(request) => go(shop, request, step),
        AnyOperation::CreateToken(request) => go(shop, request, step),
        AnyOperation::RevokeToken(request) => go(shop, request, step),
        AnyOperation::RecordTokenUse(request) => go(shop, request, step),
        AnyOperation::RecordLoginAttempt(request) => go(shop, request, step),
        AnyOperation::UnlockLogin(request) => go(shop, request, step),
        AnyOperation::OpenSession(request) => go(shop, request, step),
        AnyOperation::CloseSession(request) => go(shop, request, step),
        AnyOperation::AddCoupon(request) => go(shop, request, step),
        AnyOperation::UpdateCoupon(request) => go(shop, request, step),
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
        AnyOperation::ChangeSettings(request) => go(shop, request, step),
        AnyOperation::RefundCharge(request) => go(shop, request, step),
        AnyOperation::SettleRefund(request) => go(shop, request, step),
        AnyOperation::RecordNotice(request) => go(shop, request, step),
        // Which events can be leased depends on earlier commits, so `deliveries.rs` has histories of their own.
        AnyOperation::RelayEvents(_)
        | AnyOperation::RetryEvents(_)
        | AnyOperation::ReplayEvents(_) => unreachable!("not generated"),
    }
}

/// Returns the model after a history, and its predictions.
fn predict(steps: &[Step]) -> (Model, Vec<Answer>) {
    let mut model = Model::default();
    let mut answer = |step: &Step| {
        let (key, now, clock) = (step.key(), step.now(), step.clock());
        model.answer(&step.operation, key.as_ref(), now, clock, step.actor)
    };
    let predictions = steps.iter().map(&mut answer).collect();
    (model, predictions)
}

/// Returns true if a table's rows are the same on all stores: buckets of sales differ, and the prefixes of epochs are
/// random.
fn is_comparable(table: Table) -> bool {
    !matches!(table, Table::Sales | Table::Epochs)
}

/// Returns the rows of all comparable tables.
fn rows(store: &dyn Store) -> Vec<Record> {
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for table in Table::ALL.into_iter().filter(|table| is_comparable(*table)) {
        snapshot.scan(table, &mut |row| rows.push(row)).unwrap();
    }
    rows
}

/// Returns true for the rows that the model predicts.
fn is_predicted(row: &Record) -> bool {
    matches!(
        row,
        Record::Account(_)
            | Record::Product(_)
            | Record::StockMovement(_)
            | Record::CartLine { .. }
            | Record::Coupon(_)
            | Record::OwnedCoupon(_)
            | Record::Order(_)
            | Record::Purchase(_)
            | Record::Charge(_)
            | Record::Refund(_)
            | Record::LedgerEntry(_)
            | Record::Event(_)
            | Record::Settings(_)
            | Record::Token(_)
            | Record::AuditEntry(_)
    )
}

/// The ends of best-seller windows: at the edges of sales, of days, and of windows.
fn window_ends() -> [Timestamp; 11] {
    let day = 86_400;
    [-1, 0, 500, 1_499, 2_999, day, 3 * day, 3 * day + 2_000, 6 * day, 40 * day, 43 * day]
        .map(|seconds| NOW.plus_seconds(seconds))
}

fn rankings(shop: &Shop) -> Vec<Value> {
    let request = |at| BestSellersRequest { at: Some(at), ..Default::default() };
    window_ends().into_iter().map(|at| json!(shop.best_sellers(&request(at)).unwrap())).collect()
}

/// Checks every report against the model, and that a second count proves it.
fn check_reports(shop: &Shop, model: &Model, reports: &[Report]) -> Result<(), TestCaseError> {
    for &Report { from, length, zone, by, basis } in reports {
        let (from, to) = (NOW.plus_seconds(from), NOW.plus_seconds(from + length));
        let window = Window::Between { from, to: Some(to) };
        let zoned = Some(zone.0.parse().unwrap());
        let request = SalesReportRequest { window, by, zone: zoned, compare: None, basis };
        let predicted = model.sales_report((from, to), zone, by, basis);
        prop_assert_eq!(&predicted, &proven(shop, &request)?);
        for by in [RankBy::Units, RankBy::Net, RankBy::Rising] {
            let request = ProductReportRequest { by, days: 3, limit: 100, at: Some(to) };
            prop_assert_eq!(model.product_report(by, to), proven(shop, &request)?);
        }
        let request = BalanceReportRequest { at: Some(to) };
        prop_assert_eq!(model.balance_report(to), proven(shop, &request)?);
    }
    let stock = proven(shop, &StockReportRequest { days: 3, limit: 100 })?;
    prop_assert_eq!(model.stock_report(shop.now()), stock);
    prop_assert_eq!(model.coupon_report(), proven(shop, &CouponReportRequest)?);
    Ok(())
}

/// Returns a report as JSON.
fn proven<R: ReportRequest>(shop: &Shop, request: &R) -> Result<Value, TestCaseError> {
    let Proof { report, differences, .. } = shop.prove(request).unwrap();
    prop_assert_eq!(differences, vec![]);
    Ok(serde_json::to_value(report).unwrap())
}

/// Checks the answers, rows, rankings and reports of a history against the model, with batches of `batch` calls per commit.
/// Returns the store's rows, and the lists on which all stores agree.
fn check<S: Store + 'static>(
    steps: &[Step],
    batch: usize,
    reports: &[Report],
    store: S,
) -> Result<(Vec<Record>, Vec<Value>), TestCaseError> {
    let (mut model, predictions) = predict(steps);
    let pausable = PausableStore::new(store);
    let world = with_clock(Arc::clone(&pausable));
    let answers = run(&world, &pausable, steps, batch);
    check_answers(steps, &predictions, &answers)?;
    let rows = rows(&*pausable);
    check_rows(&model.rows(), rows.iter().filter(|row| is_predicted(row)))?;
    // Reads release overdue orders, too.
    let clock = steps.last().map_or(NOW, Step::clock);
    model.expire(clock);
    let predicted: Vec<_> =
        window_ends().into_iter().map(|at| model.best_sellers(at, clock)).collect();
    prop_assert_eq!(predicted, rankings(&world.0));
    check_reports(&world.0, &model, reports)?;
    let lists = lists::check(&world.0, &model)?;
    assert_clean(&world.0);
    Ok((rows, lists))
}

/// Checks a history against the model on the memory store, one call per commit, and on another in batches, and that
/// both have the same rows: keys, digests, sessions and deliveries included.
fn check_with_memory<S: Store + 'static>(
    steps: &[Step],
    batch: usize,
    reports: &[Report],
    store: S,
) -> Result<(), TestCaseError> {
    let (expected, lists) = check(steps, 1, reports, MemoryStore::new(Currency::KRW))?;
    let (rows, own_lists) = check(steps, batch, reports, store)?;
    prop_assert_eq!(lists, own_lists);
    check_rows(&expected, &rows)
}

fn check_answers(
    steps: &[Step],
    predictions: &[Answer],
    answers: &[Answer],
) -> Result<(), TestCaseError> {
    for ((step, prediction), answer) in steps.iter().zip(predictions).zip(answers) {
        prop_assert_eq!(prediction, answer, "{:?}", step);
    }
    prop_assert_eq!(predictions.len(), answers.len());
    Ok(())
}

fn check_rows<'a>(
    expected: &[Record],
    rows: impl IntoIterator<Item = &'a Record>,
) -> Result<(), TestCaseError> {
    let rows: Vec<&Record> = rows.into_iter().collect();
    for (expected, row) in expected.iter().zip(&rows) {
        prop_assert_eq!(expected, *row);
    }
    prop_assert_eq!(expected.len(), rows.len());
    Ok(())
}

/// Opens a shop on a store, with a manual clock.
fn with_clock(store: impl Store + 'static) -> (Shop, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    (Shop::builder().clock(Arc::clone(&clock)).open(store), clock)
}

fn config(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(seeds)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn memory_store_answers_as_the_model_predicts(steps in history(), reports in reports()) {
        check(&steps, 1, &reports, MemoryStore::new(Currency::KRW))?;
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn sqlite_in_batches_agrees_with_model_and_memory(
        steps in history(),
        batch in 2_usize..40,
        reports in reports(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
        check_with_memory(&steps, batch, &reports, store)?;
    }

    #[test]
    fn postgres_in_batches_agrees_with_model_and_memory(
        steps in history(),
        batch in 2_usize..40,
        reports in reports(),
    ) {
        let store = PostgresStore::open(&cluster::shared().store()).unwrap();
        check_with_memory(&steps, batch, &reports, store)?;
    }
}

/// Operations of deliveries, which have histories of their own in `deliveries.rs`.
const NOT_GENERATED: [&str; 3] = ["RelayEvents", "RetryEvents", "ReplayEvents"];

/// Refusals that these histories cannot reach: a balance limit takes thousands of charges.
const NOT_REACHED: [Code; 1] = [Code::BalanceLimit];

/// The refusals of single operations that no history reaches: the only admin always has money.
const NOT_REACHED_BY: [(&str, Code); 1] = [("EraseCustomer", Code::LastAdmin)];

/// Refusals of every request and of keys, which no operation lists.
const COMMON: [Code; 2] = [Code::InvalidRequest, Code::IdempotencyKeyReused];

/// Codes that no rule decides, and the code of calls with a condition, which are not generated.
const NOT_OF_RULES: [Code; 7] = [
    Code::DebitNotFound,
    Code::SessionNotFound,
    Code::PreconditionFailed,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::Busy,
    Code::Storage,
];

/// Returns the kinds of cancellations of parts that an order has.
fn kinds_of_parts(row: &Record) -> Vec<&'static str> {
    let Record::Order(order) = row else { return Vec::new() };
    let kind = |row: &LineCancellation| {
        let share = share_of_units(row.net, row.quantity, row.line_units);
        match (row.event_id, row.is_restocked) {
            _ if row.line_amount < share => "kept back",
            (None, _) => "before the payment",
            (_, false) => "lost",
            _ => "paid back",
        }
    };
    order.cancellations.iter().map(kind).collect()
}

/// A refusal that no history reaches is one that no prediction checks.
#[test]
fn generated_histories_reach_exactly_the_refusals_of_each_operation() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<String, BTreeSet<Code>> = BTreeMap::new();
    let mut parts = BTreeSet::new();
    for _ in 0..1_600 {
        let steps = history().new_tree(&mut runner).unwrap().current();
        let (model, answers) = predict(&steps);
        parts.extend(model.rows().iter().flat_map(kinds_of_parts));
        for (step, answer) in steps.iter().zip(answers) {
            let name = format!("{:?}", step.operation);
            let name = name.split('(').next().unwrap().to_owned();
            reached.entry(name).or_default().extend(answer.result.err().map(|error| error.code()));
        }
    }
    assert_eq!(parts, BTreeSet::from(["before the payment", "kept back", "lost", "paid back"]));
    let all = reached.values().flatten().copied().chain(NOT_REACHED).chain(NOT_OF_RULES);
    assert_eq!(all.collect::<BTreeSet<_>>(), BTreeSet::from(Code::ALL));
    let is_own = |code: &Code| !COMMON.contains(code);
    for codes in reached.values_mut() {
        codes.retain(is_own);
    }
    let listed = AnyOperation::REFUSALS.iter().filter(|(name, _)| !NOT_GENERATED.contains(name));
    let listed = listed.map(|(name, codes)| {
        let is_reached = |code: &&Code| {
            !NOT_REACHED.contains(code) && !NOT_REACHED_BY.contains(&(*name, **code))
        };
        let codes = codes.iter().filter(is_reached).copied();
        ((*name).to_owned(), codes.collect())
    });
    assert_eq!(reached, listed.collect::<BTreeMap<_, BTreeSet<_>>>());
}
