//! Erases a customer: the personal data of the customer ends, the ids and amounts stay.

use super::Rule;
use crate::digest::{Digest, Digested, KeyUse};
use crate::error::Refusal;
use crate::id::{ChargeId, CustomerId, Key, LedgerEntryId};
use crate::idempotency::StoredResult;
use crate::limits::MAX_BATCH_WEIGHT;
use crate::model::audit_trail::Action;
use crate::model::auth::LoginHash;
use crate::model::cart::Cart;
use crate::model::order::OrderStatus;
use crate::model::wallet::{ChargeStatus, Customer, CustomerStatus, Role};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Erasure, Needs, PersonalData, SessionChange, State, may_be_personal};
use serde::Serialize;
use std::collections::HashMap;

/// Erases the personal data of a customer: name, login, password, sessions, failed logins, notes, cart, payment methods,
/// and what the stored results of keys hold of them. Orders, the ledger, coupons and all ids and amounts stay.
///
/// It cannot be undone, and an erased customer cannot be changed, charged or ordered for. Money that comes in later, by a
/// cancelled order or a charge that was collected after all, can be debited. Erasing again erases what was written since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EraseCustomer {
    /// The customer.
    pub customer_id: CustomerId,
}

impl Rule for EraseCustomer {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.admins_beside(state, self.customer_id);
        if !state.carts.is_loaded(self.customer_id) {
            needs.carts.insert(self.customer_id);
        }
        if !state.pending_charges.contains(&self.customer_id) {
            needs.pending_charges.insert(self.customer_id);
        }
        if !state.is_personal_data_loaded(self.customer_id) {
            needs.personal.insert(self.customer_id);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::CustomerErased)
    }

    /// A whole batch, so that the command is alone in its commit: the personal data that is loaded is then all there is.
    fn weight(&self) -> usize {
        MAX_BATCH_WEIGHT
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let customer_id = self.customer_id;
        let account = state.account(customer_id)?;
        let (balance, debt, before) = (account.balance, account.debt, account.customer.clone());
        let data = state.personal_data(customer_id).cloned().unwrap_or_default();
        if before.status != CustomerStatus::Erased {
            self.check_settled(state, &data, balance, debt)?;
        }
        let status = CustomerStatus::Erased;
        state.keep_an_admin(&before, &Customer { status, ..before.clone() })?;

        let erasure = Erasure {
            customer_id,
            login: before.login.as_deref().map(LoginHash::of),
            notes: erase_notes(&data),
            payment_methods: erase_payment_methods(&data),
            answers: erase_answers(&data, &before),
        };
        state.erasures.push(erasure);
        state.sessions.push(SessionChange::ClosedAll(customer_id));
        if state.cart(customer_id).is_some_and(|lines| !lines.is_empty())
            && let Some((_, lines)) = state.carts.get_mut(customer_id)
        {
            lines.clear();
        }
        context.record_change(state, "status", &before.status, &status);
        let customer = state.change_profile(customer_id, |customer| {
            Customer::ERASED_NAME.clone_into(&mut customer.name);
            customer.login = None;
            customer.role = Role::Customer;
            customer.status = status;
        });
        customer.map(Output::Customer)
    }
}

impl EraseCustomer {
    /// Refuses a customer with money, a debt, or pending orders, charges, refunds or disputes: their money may come back.
    fn check_settled(
        &self,
        state: &State,
        data: &PersonalData,
        balance: Money,
        debt: Money,
    ) -> Result<(), Refusal> {
        let customer_id = self.customer_id;
        // An order that is overdue was released in this commit.
        let is_pending = |id| {
            !state.orders.is_loaded(id)
                || state.orders.get(id).is_some_and(|order| order.status == OrderStatus::Pending)
        };
        let unpaid = data.pending_orders.iter().filter(|id| is_pending(**id)).count();
        let charges = state.charges_of(customer_id);
        let pending = charges.filter(|row| row.status == ChargeStatus::Pending).count();
        let pending_refunds = data.pending_refunds;
        let has_money = balance != Money::ZERO || debt != Money::ZERO;
        if !has_money && unpaid == 0 && pending == 0 && pending_refunds == 0 {
            return Ok(());
        }
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        let (unpaid_orders, pending_charges) = (count(unpaid), count(pending));
        Err(Refusal::CustomerNotErasable {
            customer_id,
            balance,
            debt,
            unpaid_orders,
            pending_charges,
            pending_refunds,
        })
    }
}

fn erase_notes(data: &PersonalData) -> Vec<(LedgerEntryId, Option<i64>)> {
    let keys = keys_by_row(data);
    let erased = data.notes.iter().map(|(before, digest)| {
        let mut after = before.clone();
        after.note = None;
        (before.id, new_digest(before, &after, *digest, &keys))
    });
    erased.collect()
}

fn erase_payment_methods(data: &PersonalData) -> Vec<(ChargeId, Option<i64>)> {
    let keys = keys_by_row(data);
    let erased = data.payment_methods.iter().map(|(before, digest)| {
        let mut after = before.clone();
        if let Some(source) = &mut after.source {
            source.payment_method = None;
        }
        (before.id, new_digest(before, &after, *digest, &keys))
    });
    erased.collect()
}

/// The keys that lead to each row with a digest.
type KeysByRow<'a> = HashMap<Digested, Vec<KeyUse<'a>>>;

fn keys_by_row(data: &PersonalData) -> KeysByRow<'_> {
    let mut keys = KeysByRow::new();
    for (key, scope, record) in &data.keys {
        if record.digest.is_none()
            && let Some(row) = Digested::answered_by(&record.answer)
        {
            let (fingerprint, created_at) = (record.fingerprint, record.created_at);
            let used = KeyUse { key, scope: *scope, fingerprint, created_at };
            keys.entry(row).or_default().push(used);
        }
    }
    keys
}

/// Returns the digest of a row after a change of its fields. The digest of a damaged row stays, so that the audit still
/// reports it; a row of an earlier version has none.
fn new_digest<T: Digest>(
    before: &T,
    after: &T,
    digest: Option<i64>,
    keys: &KeysByRow<'_>,
) -> Option<i64> {
    let present = digest?;
    let ((row, old), (_, new)) = (before.hashed()?, after.hashed()?);
    if present == old.digest() {
        return Some(new.digest());
    }
    let mut used = keys.get(&row).into_iter().flatten();
    let used = used.find(|used| present == old.digest_with(used));
    Some(used.map_or(present, |used| new.digest_with(used)))
}

/// Returns the keys with a stored result that holds personal data, and the result without it.
fn erase_answers(data: &PersonalData, before: &Customer) -> Vec<(Key, CustomerId, StoredResult)> {
    let id = before.id;
    let name = || Customer::ERASED_NAME.to_owned();
    let erased = data.keys.iter().filter_map(|(key, scope, kept)| {
        let answer = match &kept.answer {
            _ if !may_be_personal(id, *scope, &kept.answer) => return None,
            StoredResult::Customer(row) => {
                StoredResult::Customer(Customer { name: name(), login: None, ..row.clone() })
            }
            StoredResult::Cart(_) => StoredResult::Cart(Cart::priced(id, Vec::new())),
            StoredResult::Refused(Refusal::LoginTaken { login })
                if before.login.as_ref() == Some(login) =>
            {
                StoredResult::Refused(Refusal::LoginTaken { login: name() })
            }
            StoredResult::Order(..)
            | StoredResult::OrderAfter(..)
            | StoredResult::Refund(_)
            | StoredResult::Charge(_)
            | StoredResult::OpenedCharge(_)
            | StoredResult::Debit(_)
            | StoredResult::OwnedCoupon(_)
            | StoredResult::Product(_)
            | StoredResult::Coupon(_)
            | StoredResult::Token(_)
            | StoredResult::Refused(_) => return None,
        };
        Some((key.clone(), *scope, answer))
    });
    erased.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::OrderId;
    use crate::idempotency::IdempotencyRecord;
    use crate::model::wallet::{EntryKind, LedgerEntry};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    const KIM: CustomerId = CustomerId::new(1);
    const ERASE: EraseCustomer = EraseCustomer { customer_id: KIM };

    fn debit() -> LedgerEntry {
        LedgerEntry {
            id: LedgerEntryId::new(9),
            customer_id: KIM,
            kind: EntryKind::Debit,
            amount: Money::from_minor(-40),
            balance_after: Money::ZERO,
            order_id: None,
            charge_id: None,
            note: Some("gift".to_owned()),
            created_at: NOW,
            previous: None,
        }
    }

    /// The key of the debit.
    fn kept() -> (Key, CustomerId, IdempotencyRecord) {
        let entry = debit();
        let answer = StoredResult::Debit(crate::model::wallet::Debit {
            id: entry.id,
            customer_id: KIM,
            amount: Money::from_minor(40),
            status: ChargeStatus::Succeeded,
            balance: Money::ZERO,
            currency: crate::money::Currency::KRW,
            created_at: NOW,
        });
        let (fingerprint, created_at, digest) = (7, NOW, None);
        let record = IdempotencyRecord { fingerprint, answer, created_at, digest, request: None };
        (Key::new("debit").unwrap(), KIM, record)
    }

    fn digest(entry: &LedgerEntry, with_key: bool) -> i64 {
        let (key, scope, record) = kept();
        let (fingerprint, created_at): (i64, Timestamp) = (record.fingerprint, record.created_at);
        let used = KeyUse { key: &key, scope, fingerprint, created_at };
        let (_, hash) = entry.hashed().unwrap();
        if with_key { hash.digest_with(&used) } else { hash.digest() }
    }

    #[rstest]
    #[case::with_a_key(Some(digest(&debit(), true)), Some(digest(&LedgerEntry { note: None, ..debit() }, true)))]
    #[case::without_key(Some(digest(&debit(), false)), Some(digest(&LedgerEntry { note: None, ..debit() }, false)))]
    #[case::of_an_earlier_version(None, None)]
    #[case::damaged_before(Some(1), Some(1))]
    fn digest_of_a_row_that_loses_its_note_is_computed_again(
        #[case] before: Option<i64>,
        #[case] after: Option<i64>,
    ) {
        let mut world = World::default().with_customer(1, 0);
        let data = PersonalData {
            notes: vec![(debit(), before)],
            keys: vec![kept()],
            ..PersonalData::default()
        };
        world.state.provide_personal_data(KIM, data);
        world.run(ERASE).unwrap();
        let erasure = world.state.erasures.last().unwrap();
        assert_eq!(erasure.notes, [(LedgerEntryId::new(9), after)]);
        assert_eq!(erasure.answers, []);
    }

    #[test]
    fn erased_customer_has_no_name_login_role_session_or_cart() {
        let mut world = World::default().with_customer(1, 0).with_product(1, 10, 5);
        let account = world.state.accounts.get_mut(KIM).unwrap();
        (account.customer.login, account.customer.role) = (Some("kim".to_owned()), Role::Clerk);
        let lines = world.state.carts.get_mut(KIM).unwrap();
        lines.1.insert(crate::id::ProductId::new(1), 2);
        let Ok(Output::Customer(kim)) = world.run(ERASE) else { panic!() };
        assert_eq!((kim.name.as_str(), kim.login, kim.role), ("erased", None, Role::Customer));
        assert_eq!(kim.status, CustomerStatus::Erased);
        assert!(world.state.cart(KIM).unwrap().is_empty());
        assert_eq!(world.state.sessions, [SessionChange::ClosedAll(KIM)]);
        assert_eq!(world.state.erasures.last().unwrap().login, Some(LoginHash::of("kim")));
        world.run(ERASE).unwrap();
        // Late money does not keep the customer from being erased again.
        world.set_balance(1, 5);
        world.run(ERASE).unwrap();
    }

    #[rstest]
    #[case::unknown(9, 0, 0, 0, 0, "customer_not_found")]
    #[case::money(1, 5, 0, 0, 0, "customer_not_erasable")]
    #[case::debt(1, 0, 5, 0, 0, "customer_not_erasable")]
    #[case::unpaid_order(1, 0, 0, 1, 0, "customer_not_erasable")]
    #[case::pending_refund(1, 0, 0, 0, 1, "customer_not_erasable")]
    fn erase_refuses_unknown_customers_and_those_with_open_business(
        #[case] customer: i64,
        #[case] balance: i64,
        #[case] debt: i64,
        #[case] orders: i64,
        #[case] pending_refunds: u64,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_customer(1, balance);
        world.state.accounts.get_mut(KIM).unwrap().debt = Money::from_minor(debt);
        let pending_orders = (0..orders).map(|number| OrderId::new(500 + number)).collect();
        let data = PersonalData { pending_orders, pending_refunds, ..PersonalData::default() };
        world.state.provide_personal_data(KIM, data);
        let request = EraseCustomer { customer_id: CustomerId::new(customer) };
        assert_eq!(code(world.refused(request)), refused);
        assert_eq!(world.state.erasures, []);
    }
}
