//! The audit trail: the changes that others than the customer concerned have made, each with its actor. It holds ids
//! and numbers only, so that it outlives the personal data of a customer.

use crate::clock::Timestamp;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, LedgerEntryId, OrderId, ProductId, TokenId,
};
use crate::model::words::words;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt;
use std::str::FromStr;

/// The author of a change: the operator at the command line, a customer or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// The operator at the command line, with access to the store itself.
    Cli,
    /// A customer, by a session.
    Customer(CustomerId),
    /// A program, by its token.
    Token(TokenId),
}

/// The kind of an [`Actor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// [`Actor::Cli`].
    Cli,
    /// [`Actor::Customer`].
    Customer,
    /// [`Actor::Token`].
    Token,
}

/// The object of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after the object")]
pub enum Subject {
    Shop,
    Customer(CustomerId),
    Product(ProductId),
    Coupon(CouponId),
    Order(OrderId),
    Charge(ChargeId),
    LedgerEntry(LedgerEntryId),
    Token(TokenId),
}

/// The kind of a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is named after the object")]
pub enum SubjectKind {
    Shop,
    Customer,
    Product,
    Coupon,
    Order,
    Charge,
    LedgerEntry,
    Token,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "each is named after the change")]
pub enum Action {
    #[serde(rename = "product.added")]
    ProductAdded,
    #[serde(rename = "product.updated")]
    ProductUpdated,
    #[serde(rename = "stock.adjusted")]
    StockAdjusted,
    #[serde(rename = "coupon.added")]
    CouponAdded,
    #[serde(rename = "coupon.updated")]
    CouponUpdated,
    #[serde(rename = "coupon.stopped")]
    CouponStopped,
    #[serde(rename = "coupon.claimed")]
    CouponClaimed,
    #[serde(rename = "customer.added")]
    CustomerAdded,
    #[serde(rename = "customer.updated")]
    CustomerUpdated,
    #[serde(rename = "customer.disabled")]
    CustomerDisabled,
    #[serde(rename = "customer.enabled")]
    CustomerEnabled,
    #[serde(rename = "customer.erased")]
    CustomerErased,
    #[serde(rename = "role.changed")]
    RoleChanged,
    #[serde(rename = "login.set")]
    LoginSet,
    #[serde(rename = "login.unlocked")]
    LoginUnlocked,
    #[serde(rename = "password.changed")]
    PasswordChanged,
    #[serde(rename = "session.revoked")]
    SessionRevoked,
    #[serde(rename = "token.created")]
    TokenCreated,
    #[serde(rename = "token.revoked")]
    TokenRevoked,
    #[serde(rename = "charge.opened")]
    ChargeOpened,
    #[serde(rename = "balance.charged")]
    BalanceCharged,
    #[serde(rename = "balance.debited")]
    BalanceDebited,
    #[serde(rename = "cart.changed")]
    CartChanged,
    #[serde(rename = "order.placed")]
    OrderPlaced,
    #[serde(rename = "order.paid")]
    OrderPaid,
    #[serde(rename = "order.partially_cancelled")]
    OrderPartiallyCancelled,
    #[serde(rename = "order.cancelled")]
    OrderCancelled,
    #[serde(rename = "charge.refunded")]
    ChargeRefunded,
    #[serde(rename = "settings.changed")]
    SettingsChanged,
}

words! {
    ActorKind {
        Cli = "cli",
        Customer = "customer",
        Token = "token",
    }
    SubjectKind {
        Shop = "shop",
        Customer = "customer",
        Product = "product",
        Coupon = "coupon",
        Order = "order",
        Charge = "charge",
        LedgerEntry = "ledger_entry",
        Token = "token",
    }
    Action {
        ProductAdded = "product.added",
        ProductUpdated = "product.updated",
        StockAdjusted = "stock.adjusted",
        CouponAdded = "coupon.added",
        CouponUpdated = "coupon.updated",
        CouponStopped = "coupon.stopped",
        CouponClaimed = "coupon.claimed",
        CustomerAdded = "customer.added",
        CustomerUpdated = "customer.updated",
        CustomerDisabled = "customer.disabled",
        CustomerEnabled = "customer.enabled",
        CustomerErased = "customer.erased",
        RoleChanged = "role.changed",
        LoginSet = "login.set",
        LoginUnlocked = "login.unlocked",
        PasswordChanged = "password.changed",
        SessionRevoked = "session.revoked",
        TokenCreated = "token.created",
        TokenRevoked = "token.revoked",
        ChargeOpened = "charge.opened",
        BalanceCharged = "balance.charged",
        BalanceDebited = "balance.debited",
        CartChanged = "cart.changed",
        OrderPlaced = "order.placed",
        OrderPaid = "order.paid",
        OrderPartiallyCancelled = "order.partially_cancelled",
        OrderCancelled = "order.cancelled",
        ChargeRefunded = "charge.refunded",
        SettingsChanged = "settings.changed",
    }
}

impl Action {
    /// Returns true if the trail records the action only with a field that it changed: a request for the present state
    /// changes nothing.
    pub(crate) fn needs_change(self) -> bool {
        let actions = [
            Self::ProductUpdated,
            Self::CouponUpdated,
            Self::CouponStopped,
            Self::CustomerUpdated,
            Self::CustomerDisabled,
            Self::CustomerEnabled,
            Self::CustomerErased,
            Self::RoleChanged,
        ];
        actions.contains(&self)
    }

    /// Returns true if the trail records the action of that actor; `is_own` if the customer concerned is the actor.
    ///
    /// Only staff may add money that no gateway collects, refund charges, disable and enable: that is recorded for themselves, too. Orders,
    /// payments, carts and claims at the command line are those of the customer: an order that a script places writes the
    /// same rows as one that the customer places.
    #[must_use]
    pub fn is_recorded_for(self, actor: Actor, is_own: bool) -> bool {
        let is_of_staff = matches!(
            self,
            Self::BalanceCharged
                | Self::ChargeRefunded
                | Self::CustomerDisabled
                | Self::CustomerEnabled
        );
        let is_of_customer = matches!(
            self,
            Self::OrderPlaced | Self::OrderPaid | Self::CartChanged | Self::CouponClaimed
        );
        is_of_staff || !is_own && (actor != Actor::Cli || !is_of_customer)
    }
}

impl Actor {
    /// Returns the kind, and the id of a customer or token.
    #[must_use]
    pub const fn parts(self) -> (ActorKind, Option<i64>) {
        match self {
            Self::Cli => (ActorKind::Cli, None),
            Self::Customer(id) => (ActorKind::Customer, Some(id.get())),
            Self::Token(id) => (ActorKind::Token, Some(id.get())),
        }
    }

    /// Returns the actor of these [`Actor::parts`], if they are some.
    #[must_use]
    pub fn from_parts(kind: ActorKind, id: Option<i64>) -> Option<Self> {
        match (kind, id) {
            (ActorKind::Cli, None) => Some(Self::Cli),
            (ActorKind::Customer, Some(id)) => Some(Self::Customer(CustomerId::new(id))),
            (ActorKind::Token, Some(id)) => Some(Self::Token(TokenId::new(id))),
            _ => None,
        }
    }
}

impl Subject {
    /// Returns the kind, and the id except for the shop.
    #[must_use]
    pub const fn parts(self) -> (SubjectKind, Option<i64>) {
        match self {
            Self::Shop => (SubjectKind::Shop, None),
            Self::Customer(id) => (SubjectKind::Customer, Some(id.get())),
            Self::Product(id) => (SubjectKind::Product, Some(id.get())),
            Self::Coupon(id) => (SubjectKind::Coupon, Some(id.get())),
            Self::Order(id) => (SubjectKind::Order, Some(id.get())),
            Self::Charge(id) => (SubjectKind::Charge, Some(id.get())),
            Self::LedgerEntry(id) => (SubjectKind::LedgerEntry, Some(id.get())),
            Self::Token(id) => (SubjectKind::Token, Some(id.get())),
        }
    }

    /// Returns the subject of these [`Subject::parts`], if they are some.
    #[must_use]
    pub fn from_parts(kind: SubjectKind, id: Option<i64>) -> Option<Self> {
        match (kind, id) {
            (SubjectKind::Shop, None) => Some(Self::Shop),
            (SubjectKind::Customer, Some(id)) => Some(Self::Customer(CustomerId::new(id))),
            (SubjectKind::Product, Some(id)) => Some(Self::Product(ProductId::new(id))),
            (SubjectKind::Coupon, Some(id)) => Some(Self::Coupon(CouponId::new(id))),
            (SubjectKind::Order, Some(id)) => Some(Self::Order(OrderId::new(id))),
            (SubjectKind::Charge, Some(id)) => Some(Self::Charge(ChargeId::new(id))),
            (SubjectKind::LedgerEntry, Some(id)) => Some(Self::LedgerEntry(LedgerEntryId::new(id))),
            (SubjectKind::Token, Some(id)) => Some(Self::Token(TokenId::new(id))),
            _ => None,
        }
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, kind: &str, id: Option<i64>) -> fmt::Result {
    match id {
        None => f.write_str(kind),
        Some(id) => write!(f, "{kind}:{id}"),
    }
}

/// `cli`, `customer:7` or `token:3`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = self.parts();
        write_parts(f, kind.as_str(), id)
    }
}

/// `product:3`, and `shop` without an id.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = self.parts();
        write_parts(f, kind.as_str(), id)
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The error of a text that names no actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor is cli, customer:ID or token:ID")]
pub struct ParseActorError;

impl FromStr for Actor {
    type Err = ParseActorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, id) = match text.split_once(':') {
            Some((kind, id)) => (kind, Some(id.parse().map_err(|_| ParseActorError)?)),
            None => (text, None),
        };
        let kind = ActorKind::from_word(kind).ok_or(ParseActorError)?;
        Self::from_parts(kind, id).filter(|_| id.is_none_or(|id| id > 0)).ok_or(ParseActorError)
    }
}

/// The fields that an action changed, as a JSON object: numbers, instants and words, never names or notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldChanges(Option<String>);

impl FieldChanges {
    /// Wraps the JSON of a column.
    pub(crate) const fn from_json(json: Option<String>) -> Self {
        Self(json)
    }

    /// Returns changes of these fields.
    #[must_use]
    pub fn of(fields: Map<String, Value>) -> Self {
        Self((!fields.is_empty()).then(|| Value::Object(fields).to_string()))
    }

    /// Returns the JSON; `None` without fields.
    #[must_use]
    pub fn as_json(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Returns the fields.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        self.as_json().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// Adds a field, if it has changed.
    pub(crate) fn add<T: Serialize + PartialEq>(&mut self, field: &str, from: &T, to: &T) {
        if from != to {
            self.set(field, json!({ "from": from, "to": to }));
        }
    }

    /// Adds a number that the action was given.
    pub(crate) fn set(&mut self, field: &str, value: impl Serialize) {
        let mut fields = self.fields();
        fields.insert(field.to_owned(), json!(value));
        self.0 = Some(Value::Object(fields).to_string());
    }
}

impl Serialize for FieldChanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields().serialize(serializer)
    }
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// The number of the entry: in commit order, without gaps.
    pub id: AuditEntryId,
    /// The instant of the change.
    pub created_at: Timestamp,
    /// The author of the change.
    pub actor: Actor,
    /// The kind of the change.
    pub action: Action,
    /// The object that was changed.
    pub subject: Subject,
    /// The fields that were changed.
    pub changes: FieldChanges,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cli", Some(Actor::Cli))]
    #[case("customer:7", Some(Actor::Customer(CustomerId::new(7))))]
    #[case("token:3", Some(Actor::Token(TokenId::new(3))))]
    #[case("cli:1", None)]
    #[case("customer", None)]
    #[case("customer:0", None)]
    #[case("customer:x", None)]
    #[case("", None)]
    fn actors_are_parsed_as_they_are_shown(#[case] text: &str, #[case] actor: Option<Actor>) {
        assert_eq!(text.parse().ok(), actor);
        if let Some(actor) = actor {
            assert_eq!(actor.to_string(), text);
        }
    }

    #[rstest]
    #[case::own_password(Action::PasswordChanged, Actor::Customer(CustomerId::new(7)), true, false)]
    #[case::password_of_another(
        Action::PasswordChanged,
        Actor::Customer(CustomerId::new(8)),
        false,
        true
    )]
    #[case::own_money(Action::BalanceCharged, Actor::Customer(CustomerId::new(7)), true, true)]
    #[case::own_refund(Action::ChargeRefunded, Actor::Customer(CustomerId::new(7)), true, true)]
    #[case::own_status(Action::CustomerDisabled, Actor::Customer(CustomerId::new(7)), true, true)]
    #[case::own_order(Action::OrderPlaced, Actor::Customer(CustomerId::new(7)), true, false)]
    #[case::order_of_a_script(Action::OrderPlaced, Actor::Cli, false, false)]
    #[case::order_of_a_program(Action::OrderPlaced, Actor::Token(TokenId::new(7)), false, true)]
    #[case::cancellation_by_the_operator(Action::OrderCancelled, Actor::Cli, false, true)]
    fn actions_of_customers_for_themselves_are_not_recorded(
        #[case] action: Action,
        #[case] actor: Actor,
        #[case] is_own: bool,
        #[case] is_recorded: bool,
    ) {
        assert_eq!(action.is_recorded_for(actor, is_own), is_recorded);
    }

    #[test]
    fn changes_leave_out_equal_fields() {
        let mut changes = FieldChanges::default();
        changes.add("price", &100, &100);
        assert_eq!(changes.as_json(), None);
        changes.add("price", &100, &120);
        let json = serde_json::to_string(&changes).unwrap();
        assert_eq!(json, r#"{"price":{"from":100,"to":120}}"#);
    }
}
