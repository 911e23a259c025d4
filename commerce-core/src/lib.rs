//! An order service as a library: prepaid balances, stock, carts, coupons, orders and best sellers.
//!
//! A [`Shop`] on a store carries out operations. Each one either changes everything it should, durably, before it
//! returns, or is refused and changes nothing. A shop can be shared by any number of threads, and a store by any
//! number of processes.
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
//! // The idempotency key makes a call safe to repeat: the second call returns the result of the first.
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
//! # Stores
//!
//! [`SqliteStore`] keeps a shop in one file and [`MemoryStore`] until the process ends; the crate
//! `commerce-postgres` keeps it on a PostgreSQL server. [`copy`] copies one store into another,
//! [`SqliteStore`] makes backups while it is in use, and [`Shop::audit`] checks every invariant on a snapshot.
//! To write another store, implement the traits in [`store`].
//!
//! # Operations
//!
//! [`Shop::call`] prepares an [`Operation`], such as [`PlaceOrder`], [`PayOrder`], [`CancelOrder`],
//! [`ClaimCoupon`], [`EditCart`], [`DebitBalance`] or [`AdjustStock`]. The [`PreparedCall`] takes an idempotency
//! [`Key`], a condition on the [`Version`] that was read (optimistic concurrency) and a trace, and is then run, or
//! submitted and awaited later as a [`PendingCall`]. Calls in a [`Sequence`] stop at the first failure. Calls that
//! overlap share one transaction (group commit).
//!
//! # Reads
//!
//! Methods of [`Shop`] such as [`Shop::order`], [`Shop::ledger`] and [`Shop::best_sellers`] read from a snapshot.
//! Lists are paginated by key: [`PageRequest`], [`Page`].
//!
//! [`Shop::report`] answers requests such as [`SalesReportRequest`], and [`Shop::prove`] counts the same report again.
//!
//! # Errors
//!
//! An [`Error`] is either a [`Refusal`] by a rule, with its numbers, or a [`StoreError`] of the service. Both have a
//! stable [`Code`].
//!
//! # Payments and logins
//!
//! A [`PaymentGateway`] collects the money of charges and pays it back: [`Shop::charge_from`], [`Shop::refund_charge`],
//! [`Shop::settle_charges`], [`Shop::handle_webhook`]. [`Shop::register`], [`Shop::log_in`] and [`Shop::caller`] keep logins and sessions. A server
//! passes the [`Client`] of each attempt ([`Shop::log_in_from`]), so that a flood from one does not keep out the others.
//!
//! # Events
//!
//! Paid and cancelled orders write an [`Event`] in the same commit (outbox pattern). A [`Relay`] delivers events to
//! a [`Destination`], at least once, with leases, a circuit breaker and parked events (dead letters).
//!
//! # Limits and clocks
//!
//! [`limits`] lists every limit with its reason. A [`Clock`] may be replaced, for tests by [`ManualClock`].
//!
//! # Async programs
//!
//! A [`PendingCall`] is a future for any executor. The commit wakes it, so that no thread waits for it, and its timeout
//! holds without a timer:
//!
//! ```
//! use commerce_core::{Error, Key, Order, PlaceOrder, Shop};
//!
//! async fn place(shop: &Shop, order: PlaceOrder, key: &Key) -> Result<Order, Error> {
//!     shop.call(order).key(key).submit().await
//! }
//! # use commerce_core::{AddCustomer, AddProduct, Currency, MemoryStore, Money};
//! # let shop = Shop::open(MemoryStore::new(Currency::KRW));
//! # let balance = Money::from_minor(9_000);
//! # let kim = shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run()?;
//! # let tea = shop.call(AddProduct::new("Tea", Money::from_minor(4_500), 10)).run()?;
//! # let order = PlaceOrder::new(kim.id, [(tea.id, 2)]);
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # assert_eq!(runtime.block_on(place(&shop, order, &Key::new("1").unwrap()))?.total, balance);
//! # Ok::<(), Error>(())
//! ```
//!
//! A call continues when its future is dropped, for instance because a client has left: repeat it with the same key.
//! All other methods block. Reads of a local store take microseconds; reads of a server, passwords, charges through a
//! gateway and reports belong on a thread for blocking work, as in `tokio::task::spawn_blocking`.
//!
//! # Examples
//!
//! - `cargo run -p commerce-core --example small_shop`: a shop on SQLite.
//! - `cargo run -p commerce-core --example own_destination`: events delivered to a channel.
//! - `cargo run -p commerce-core --example own_store`: a store that wraps another one.
//! - `cargo run -p commerce-http --example own_pages`: the HTTP API inside another program, beside its own page.
//!
//! # Features
//!
//! `testing` (off by default) exposes internal operations to this project's own tests.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "a test may panic, and is easier to read that way"
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
mod csv;
mod destination;
mod digest;
mod engine;
mod entropy;
mod error;
mod export;
mod gateway;
mod histogram;
mod id;
mod idempotency;
pub mod limits;
mod model;
mod money;
mod password;
mod query;
mod refunds;
mod relay;
mod relay_stats;
mod report;
mod rule;
mod sequence;
mod shop;
mod state;
pub mod store;
pub mod sync;
mod text;
mod threads;
mod version;
mod zone;

pub use audit::{AuditReport, Problem};
pub use auth::NewToken;
pub use background::{BackgroundJob, ReconcileReport, RelayReport};
pub use charges::{NewCharge, ReconcileSummary, WebhookError, WebhookOutcome};
pub use clock::{Clock, InvalidClock, ManualClock, ParseTimestampError, SystemClock, Timestamp};
pub use copy::copy;
pub use destination::{DeliveryResult, Destination};
pub use engine::Stats;
pub use error::{Code, Error, ErrorClass, Invalid, OverLimit, Refusal, Shortage, StoreError};
pub use export::{Export, ExportError, ExportWindow, Exporter};
pub use gateway::simulated::SimulatedGateway;
pub use gateway::{
    ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway, RefundRequest, ReportedRefund,
    WebhookEvent, WebhookNotice,
};
pub use histogram::{Distribution, Histogram, SIZES, TIMES};
pub use id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId,
    OwnedCouponId, ProductId, RefundId, StockMovementId, TokenId,
};
pub use model::audit_trail::{Action, Actor, AuditEntry, FieldChanges, Subject};
pub use model::auth::{Caller, OpenedSession, PasswordHash, Session, SessionInfo};
pub use model::cart::{Cart, CartItem};
pub use model::coupon::{BelowMinimum, Coupon, Discount, OwnedCoupon, OwnedCouponStatus};
pub use model::delivery::{DeliveryState, DeliveryStatus, Outbox, TrackedEvent};
pub use model::event::{Event, EventKind};
pub use model::export::{ExportFormat, ExportKind};
pub use model::order::{
    LineCancellation, Order, OrderLine, OrderStatus, Remainder, share_of_units,
};
pub use model::patch::Patch;
pub use model::product::{Product, ProductStatus, SalePrice};
pub use model::refund::{Refund, RefundKind, RefundStatus};
pub use model::settings::Settings;
pub use model::stock_change::StockChange;
pub use model::token::{CreatedToken, Token};
pub use model::wallet::{
    Balance, Charge, ChargeStatus, Customer, CustomerStatus, Debit, EntryKind, LedgerEntry,
    Payment, PaymentKind, Role,
};
pub use money::{Currency, InCurrency, Money};
pub use password::{Client, PasswordStats};
pub use query::filter::{ChargeFilter, OrderFilter, ProductFilter, ProductSelection};
pub use query::{BestSeller, BestSellers, BestSellersBy, BestSellersRequest, Page, PageRequest};
pub use refunds::NewRefund;
pub use relay::{Relay, RelayError};
pub use relay_stats::RelayStats;
pub use report::balances::{BalanceReport, BalanceReportRequest};
pub use report::coupons::{CampaignUse, CouponReport, CouponReportRequest};
pub use report::csv::ToCsv;
pub use report::products::{ProductReport, ProductReportRequest, RankBy, RankedProduct};
pub use report::sales::{
    Basis, ComparedSales, SalesBucket, SalesFigures, SalesReport, SalesReportRequest,
};
pub use report::stock::{ProductStock, StockReport, StockReportRequest};
pub use report::window::{Compare, Window};
pub use report::{Difference, Proof, ReportRequest};
pub use rule::add_coupon::AddCoupon;
pub use rule::add_customer::AddCustomer;
pub use rule::add_product::AddProduct;
pub use rule::adjust_stock::AdjustStock;
pub use rule::cancel_order::CancelOrder;
pub use rule::change_settings::ChangeSettings;
pub use rule::charge_balance::ChargeBalance;
pub use rule::claim_coupon::ClaimCoupon;
pub use rule::debit_balance::DebitBalance;
pub use rule::edit_cart::{CartEdit, EditCart};
pub use rule::erase_customer::EraseCustomer;
pub use rule::operation::Operation;
pub use rule::past_terms::{PastLine, PastTerms};
pub use rule::pay_order::PayOrder;
pub use rule::place_order::{OrderItems, PayWhen, PlaceOrder};
pub use rule::refund_charge::RefundCharge;
pub use rule::sessions::UnlockLogin;
pub use rule::set_credentials::NewLogin;
pub use rule::set_role::SetRole;
pub use rule::tokens::RevokeToken;
pub use rule::update_coupon::UpdateCoupon;
pub use rule::update_customer::UpdateCustomer;
pub use rule::update_product::UpdateProduct;
pub use sequence::Sequence;
pub use shop::{
    ExplainedRefusal, ExplainedShortage, KeyExplanation, LogFilter, Outcome, PendingCall,
    PreparedCall, Removal, Return, Shop, ShopBuilder, Taker,
};
pub use store::memory::MemoryStore;
pub use store::sqlite::{BackupProgress, SqliteStore};
pub use store::{Store, StoreSize};
pub use sync::CancellationToken;
pub use version::{ParseVersionError, Version};
pub use zone::{ParseZoneError, Period, Zone};

/// Internal operations, for the tests of this project. An embedding program must not use them: they bypass the
/// payment gateway, password checks and leases.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::model::delivery::{EventLease, LeasedEvent};
    pub use crate::rule::change_password::ChangePassword;
    pub use crate::rule::expire_orders::ExpireOrders;
    pub use crate::rule::open_charge::OpenCharge;
    pub use crate::rule::operation::AnyOperation;
    pub use crate::rule::record_notice::{Notice, RecordNotice};
    pub use crate::rule::relay_events::{AttemptResult, DeliveryOutcome, RelayEvents};
    pub use crate::rule::replay_events::ReplayEvents;
    pub use crate::rule::retry_events::RetryEvents;
    pub use crate::rule::sessions::{CloseSession, OpenSession, RecordLoginAttempt, RevokeSession};
    pub use crate::rule::set_credentials::SetCredentials;
    pub use crate::rule::settle_charge::{SettleCharge, Settlement};
    pub use crate::rule::settle_refund::SettleRefund;
    pub use crate::rule::tokens::{CreateToken, RecordTokenUse};
}
