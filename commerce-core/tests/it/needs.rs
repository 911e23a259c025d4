//! Stores that do not load a part of the read set: the caller gets an error, and other calls
//! continue.

use crate::common::{On, PausableStore, World, cluster, key};
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::testing::{
    ChangePassword, ExpireOrders, OpenCharge, RecordLoginAttempt, RelayEvents, ReplayEvents,
    RetryEvents, SetCredentials, SettleCharge, Settlement,
};
use commerce_core::{
    AddCustomer, AddProduct, AdjustStock, CartEdit, ChargeId, ClaimCoupon, CouponId, Currency,
    CustomerId, DebitBalance, EditCart, EraseCustomer, Error, EventId, MemoryStore, Money,
    NewLogin, OrderId, PasswordHash, Patch, PayOrder, PlaceOrder, ProductId, RevokeToken, Role,
    SetRole, Shop, SqliteStore, Store, StoreError, TokenId, UpdateProduct,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// More loads than any read set takes: an engine that loops gets a panic instead of a hang.
const MAX_LOADS: u32 = 100;

const KIM: CustomerId = CustomerId::new(1);

type Omit = fn(&mut Needs);

/// A store that does not load one kind of rows.
struct Incomplete {
    store: Arc<dyn Store>,
    omit: Mutex<Option<Omit>>,
    loads: AtomicU32,
}

impl Store for Incomplete {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.loads.store(0, Ordering::SeqCst);
        Ok(Box::new(IncompleteTransaction { transaction: self.store.begin()?, store: self }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

struct IncompleteTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a Incomplete,
}

impl Transaction for IncompleteTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        assert!(
            self.store.loads.fetch_add(1, Ordering::SeqCst) < MAX_LOADS,
            "load is repeated without an end"
        );
        let mut needs = needs.clone();
        if let Some(omit) = *self.store.omit.lock().unwrap() {
            omit(&mut needs);
        }
        self.transaction.load(&needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        self.transaction.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()
    }
}

fn shop(store: Arc<dyn Store>) -> (Arc<PausableStore<Incomplete>>, Shop) {
    let incomplete = Incomplete { store, omit: Mutex::new(None), loads: AtomicU32::new(0) };
    let pausable = PausableStore::new(incomplete);
    let shop = Shop::open(Arc::clone(&pausable));
    let balance = Money::from_minor(1_000);
    shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    (pausable, shop)
}

fn debit() -> DebitBalance {
    DebitBalance { customer_id: KIM, amount: Money::from_minor(1), note: None }
}

fn relay() -> RelayEvents {
    RelayEvents { token: 1, outcomes: Vec::new(), max_events: 1, fresh_first: false, jitter: 0 }
}

fn open_charge() -> OpenCharge {
    OpenCharge {
        customer_id: KIM,
        amount: Money::from_minor(1),
        payment_method: None,
        gateway: "double".to_owned(),
        reference: "one".to_owned(),
    }
}

fn set_credentials() -> SetCredentials {
    let login = "kim".to_owned();
    let password = PasswordHash::new(
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0ISEh$AAAAAAAAAAAAAAAAAAAA",
    );
    SetCredentials {
        customer_id: KIM,
        login: NewLogin { login, password, role: Some(Role::Admin) },
    }
}

fn settle() -> SettleCharge {
    SettleCharge { charge_id: ChargeId::new(1), settlement: Settlement::Paid }
}

/// A kind of rows, the function that omits it, and a call that needs it.
type Case = (&'static str, Omit, fn(&Shop) -> Result<(), Error>);

const CASES: [Case; 26] = [
    ("customers", |needs| needs.accounts.clear(), |shop| shop.call(debit()).run().map(drop)),
    (
        "products",
        |needs| needs.products.clear(),
        |shop| {
            let request =
                AdjustStock { product_id: ProductId::new(1), delta: 1, reason: "found".to_owned() };
            shop.call(request).run().map(drop)
        },
    ),
    (
        "carts",
        |needs| needs.carts.clear(),
        |shop| shop.call(EditCart { customer_id: KIM, edit: CartEdit::Clear }).run().map(drop),
    ),
    (
        "coupons",
        |needs| needs.coupons.clear(),
        |shop| {
            shop.call(ClaimCoupon { coupon_id: CouponId::new(1), customer_id: KIM }).run().map(drop)
        },
    ),
    (
        "claims",
        |needs| needs.claims.clear(),
        |shop| {
            shop.call(ClaimCoupon { coupon_id: CouponId::new(1), customer_id: KIM }).run().map(drop)
        },
    ),
    (
        "claimed coupons",
        |needs| needs.owned_coupons.clear(),
        |shop| {
            let order = PlaceOrder::new(KIM, [(ProductId::new(1), 1)]);
            let owned_coupon_id = Some(commerce_core::OwnedCouponId::new(1));
            shop.call(PlaceOrder { owned_coupon_id, ..order }).run().map(drop)
        },
    ),
    (
        "orders",
        |needs| needs.orders.clear(),
        |shop| shop.call(PayOrder { order_id: OrderId::new(1) }).run().map(drop),
    ),
    (
        "references",
        |needs| needs.references.clear(),
        |shop| {
            let order = PlaceOrder::new(KIM, [(ProductId::new(1), 1)]);
            shop.call(PlaceOrder { reference: Some("web-1".to_owned()), ..order }).run().map(drop)
        },
    ),
    (
        "purchases",
        |needs| needs.purchases.clear(),
        |shop| {
            let product = ProductId::new(1);
            let limit_per_customer = Patch::Set(9);
            let update = UpdateProduct { limit_per_customer, ..UpdateProduct::new(product) };
            shop.call(update).run().unwrap();
            shop.call(PlaceOrder::new(KIM, [(product, 1)])).run().map(drop)
        },
    ),
    (
        "units of live orders",
        |needs| needs.live_units.clear(),
        |shop| {
            let product = AddProduct::new("Cup", Money::from_minor(1), 1);
            let product = shop.call(product).run().unwrap();
            let limit_per_customer = Patch::Set(9);
            let update = UpdateProduct { limit_per_customer, ..UpdateProduct::new(product.id) };
            shop.call(update).run().map(drop)
        },
    ),
    ("charges", |needs| needs.charges.clear(), |shop| shop.call(settle()).run().map(drop)),
    (
        "pending charges",
        |needs| needs.pending_charges.clear(),
        |shop| shop.call(open_charge()).run().map(drop),
    ),
    (
        "idempotency keys",
        |needs| needs.keys.clear(),
        |shop| shop.call(debit()).key(&key("debit")).run().map(drop),
    ),
    (
        "overdue orders",
        |needs| needs.due_orders = None,
        |shop| shop.call(ExpireOrders).run().map(drop),
    ),
    ("logins", |needs| needs.logins.clear(), |shop| shop.call(set_credentials()).run().map(drop)),
    (
        "the number of admins",
        |needs| needs.admins = false,
        |shop| shop.call(SetRole { customer_id: KIM, role: Role::Clerk }).run().map(drop),
    ),
    (
        "tokens",
        |needs| needs.tokens.clear(),
        |shop| shop.call(RevokeToken { token_id: TokenId::new(1) }).run().map(drop),
    ),
    (
        "login attempts",
        |needs| needs.attempts.clear(),
        |shop| shop.call(RecordLoginAttempt { login: "kim".to_owned() }).run().map(drop),
    ),
    (
        "credentials",
        |needs| needs.credentials.clear(),
        |shop| {
            shop.call(set_credentials()).run()?;
            let password = PasswordHash::new("$argon2id$v=19$new");
            let (customer_id, current) = (KIM, Some(set_credentials().login.password));
            shop.call(ChangePassword { customer_id, current, password, session: None })
                .run()
                .map(drop)
        },
    ),
    (
        "personal data",
        |needs| needs.personal.clear(),
        |shop| shop.call(EraseCustomer { customer_id: KIM }).run().map(drop),
    ),
    (
        "next ids",
        |needs| needs.ids = false,
        |shop| shop.call(AddCustomer::new("Lee")).run().map(drop),
    ),
    (
        "events",
        |needs| needs.events.clear(),
        |shop| shop.call(RetryEvents { events: Some(vec![EventId::new(1)]) }).run().map(drop),
    ),
    ("deliveries", |needs| needs.deliveries.clear(), |shop| shop.call(relay()).run().map(drop)),
    ("due events", |needs| needs.due_events = None, |shop| shop.call(relay()).run().map(drop)),
    (
        "parked events",
        |needs| needs.parked = None,
        |shop| shop.call(RetryEvents { events: None }).run().map(drop),
    ),
    (
        "the next event",
        |needs| needs.next_event = false,
        |shop| shop.call(ReplayEvents { from: EventId::new(1) }).run().map(drop),
    ),
];

#[rstest]
fn rows_that_a_store_omits_are_an_error(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let folder = tempfile::tempdir().unwrap();
    let (pausable, shop) = shop(match on {
        On::Memory => Arc::new(MemoryStore::new(Currency::KRW)),
        On::Sqlite => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        On::Postgres => Arc::new(PostgresStore::open(&cluster::shared().store()).unwrap()),
    });
    shop.call(PlaceOrder::new(KIM, [(ProductId::new(1), 1)])).run().unwrap();
    for (kind, omit, call) in CASES {
        *pausable.store.omit.lock().unwrap() = Some(omit);
        let answer = call(&shop);
        let Err(Error::Store(StoreError::ConstraintViolation(message))) = answer else {
            panic!("{kind}: {answer:?}")
        };
        assert!(message.contains(&format!("asked for {kind} and")), "{message}");
        // The lock is free, no result was stored, and the call is decided once its rows are loaded.
        *pausable.store.omit.lock().unwrap() = None;
        let answer = call(&shop);
        assert!(!matches!(answer, Err(Error::Store(_))), "{kind}: {answer:?}");
    }
    crate::common::assert_clean(&shop);
}

#[test]
fn other_calls_of_the_batch_succeed() {
    let (pausable, shop) = shop(Arc::new(MemoryStore::new(Currency::KRW)));
    *pausable.store.omit.lock().unwrap() = Some(|needs| needs.carts.clear());
    pausable.pause();
    let edit = EditCart { customer_id: KIM, edit: CartEdit::Clear };
    let before = shop.call(debit()).submit();
    let edited = shop.call(edit).submit();
    let after = shop.call(debit()).submit();
    pausable.resume();
    assert!(matches!(edited.wait(), Err(Error::Store(StoreError::ConstraintViolation(_)))));
    before.wait().unwrap();
    after.wait().unwrap();
    assert_eq!(shop.balance(KIM).unwrap().balance, Money::from_minor(998));
}

/// A relay that records no outcome and wants no event reads no events.
#[test]
fn relay_may_request_zero_events() {
    let world = World::new(On::Memory);
    let claim = world.shop.call(RelayEvents { max_events: 0, ..relay() }).run().unwrap();
    assert!(claim.events.is_empty());
}
