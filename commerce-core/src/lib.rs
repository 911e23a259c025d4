//! The rules, the engine and the stores of an order service that can be trusted with money.
//!
//! Prepaid balances, products whose stock is always true, carts, coupons given out first come first
//! served, orders paid in one commit, and the best sellers of the last days. Open a [`Shop`] on a store
//! and call it from as many threads as you like; each call either changes everything it should, on
//! disk when it returns, or is refused and changes nothing.
//!
//! ```
//! use commerce_core::{
//!     AddCustomer, AddProduct, BestSellersRequest, Currency, Key, MemoryStore, Money, PlaceOrder, Shop,
//! };
//!
//! let shop = Shop::open(MemoryStore::new(Currency::KRW));
//! let kim = shop.call(AddCustomer::new("Kim")).run()?;
//! let tea = shop.call(AddProduct::new("Green tea", Money::from_minor(4_500), 10)).run()?;
//!
//! // The key makes a call safe to repeat: the second one finds the first one's answer.
//! let key = Key::new("charge-1").unwrap();
//! shop.charge(kim.id, Money::from_minor(10_000), &key)?;
//! shop.charge(kim.id, Money::from_minor(10_000), &key)?;
//! assert_eq!(shop.balance(kim.id)?.balance, Money::from_minor(10_000));
//!
//! let order = shop.place_order(PlaceOrder::new(kim.id, [(tea.id, 2)]), &Key::new("order-1").unwrap())?;
//! assert_eq!(order.total, Money::from_minor(9_000));
//! assert_eq!(shop.best_sellers(&BestSellersRequest::default())?.items[0].units_sold, 2);
//! # Ok::<(), commerce_core::Error>(())
//! ```
//!
//! [`SqliteStore`] keeps everything in one file; [`MemoryStore`] keeps it until the process ends; the
//! crate `commerce-postgres` keeps it on a PostgreSQL server. A store of your own implements [`Store`].

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "tests may stop, and are read more easily so"
    )
)]

mod audit;
mod auth;
mod background;
mod charges;
mod clock;
mod codes;
mod command;
mod copy;
mod destination;
mod digest;
mod engine;
mod entropy;
mod error;
mod gateway;
mod histogram;
mod id;
pub mod limits;
mod model;
mod money;
mod query;
mod relay;
mod rule;
mod sequence;
mod shop;
mod state;
pub mod store;
pub mod sync;
mod text;
mod threads;
mod version;

pub use audit::{AuditReport, Problem};
pub use background::{BackgroundJob, ReconcileReport, RelayReport};
pub use charges::{NewCharge, ReconcileSummary, WebhookError, WebhookOutcome};
pub use clock::{Clock, ManualClock, ParseTimestampError, SystemClock, Timestamp};
pub use command::{AnyOperation, AnyOutput, Command, Operation};
pub use copy::copy;
pub use destination::{DeliveryResult, Destination};
pub use digest::Digested;
pub use engine::Stats;
pub use error::{Code, Error, ErrorClass, Invalid, Refusal, Shortage, StoreError};
pub use gateway::simulated::SimulatedGateway;
pub use gateway::{ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway, WebhookEvent};
pub use histogram::{Distribution, Histogram, SIZES, TIMES};
pub use id::{
    ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
    StockMovementId,
};
pub use model::auth::{
    Caller, Credentials, LoginAttempts, LoginHash, OpenedSession, PasswordHash, Session,
    SessionRow, TokenHash,
};
pub use model::cart::{Cart, CartItem, CartLines};
pub use model::coupon::{Coupon, Discount, OwnedCoupon, OwnedCouponStatus};
pub use model::delivery::{DeliveryRow, DeliveryState, DeliveryStatus, Outbox, TrackedEvent};
pub use model::event::{Epoch, Event, EventKind, EventRow};
pub use model::idempotency::{IdempotencyRecord, StoredResult};
pub use model::order::{Order, OrderLine, OrderStatus};
pub use model::product::{Product, ProductStatus, StockMovement};
pub use model::wallet::{
    Account, Balance, Charge, ChargeRow, ChargeSource, ChargeStatus, Customer, Debit, EntryKind,
    LedgerEntry, Payment, PaymentKind, Role,
};
pub use money::{Currency, InCurrency, Money};
pub use query::{BestSeller, BestSellers, BestSellersRequest, Page, PageRequest};
pub use relay::{Relay, RelayError, RelayStats};
pub use rule::{
    AddCoupon, AddCustomer, AddProduct, AdjustStock, AttemptResult, CancelOrder, CartEdit,
    ChargeBalance, ClaimCoupon, CloseSession, DebitBalance, DeliveryOutcome, EditCart, EventLease,
    ExpireOrders, LeasedEvent, NewLogin, OpenCharge, OpenSession, OrderItems, PayOrder, PayWhen,
    PlaceOrder, RecordLoginAttempt, RelayEvents, ReplayEvents, RetryEvents, SetCredentials,
    SettleCharge, Settlement, UnlockLogin, UpdateProduct,
};
pub use sequence::Sequence;
pub use shop::{Outcome, PendingCall, PreparedCall, Shop, ShopBuilder};
pub use state::{
    Change, Deliveries, DueEventsQuery, Needs, NextIds, Rows, Sale, SessionChange, State,
};
pub use store::memory::MemoryStore;
pub use store::sqlite::{BackupProgress, SqliteStore};
pub use store::{
    DeliveryFilter, LedgerFilter, Record, SalesCount, SalesLevel, Snapshot, Store, StoreSize,
    Table, Transaction,
};
pub use sync::CancellationToken;
pub use version::{ParseVersionError, Version};
