//! Customers and their money: balance, ledger, charges and debits; logins and their throttling.

use super::{
    CLOCK_SKEW, CURRENCY, Decision, FREE_LOGIN_FAILURES, LOGIN_MEMORY, MAX_AMOUNT, MAX_BALANCE,
    MAX_LOGIN_WAIT, MAX_PENDING_CHARGES, Model, PENDING_RETRY_AFTER, is_amount, is_assignable,
    is_text, next_id, validate,
};
use commerce_core::store::{Account, ChargeRow, ChargeSource};
use commerce_core::testing::{OpenCharge, SettleCharge, Settlement};
use commerce_core::{
    AddCustomer, Charge, ChargeId, ChargeStatus, Customer, CustomerId, CustomerStatus, Debit,
    DebitBalance, EntryKind, LedgerEntry, LedgerEntryId, Money, NewLogin, OrderId, Refusal, Role,
    Timestamp,
};

impl Model {
    pub(super) fn add_customer(&mut self, request: &AddCustomer, now: Timestamp) -> Decision {
        validate(&[
            (request.id.is_none_or(|id| is_assignable(id.get())), "/id"),
            (is_text(&request.name), "/name"),
            ((0..=MAX_AMOUNT).contains(&request.balance.minor()), "/balance"),
            (request.login.as_ref().is_none_or(is_login), "/login"),
        ])?;
        if let Some(customer_id) = request.id.filter(|id| self.is_customer(*id)) {
            return Err(Refusal::CustomerExists { customer_id });
        }
        if let Some(new) = request.login.as_ref().filter(|new| self.has_login(&new.login).is_some())
        {
            return Err(Refusal::LoginTaken { login: new.login.clone() });
        }
        let next = self.accounts.last_key_value().map_or(1, |(id, _)| id.get() + 1);
        let id = request.id.unwrap_or(CustomerId::new(next));
        let (name, role, status) = (request.name.clone(), Role::Customer, CustomerStatus::Active);
        let customer = Customer { id, name, login: None, role, status, created_at: now };
        let balance = Money::ZERO;
        let account = Account {
            customer,
            balance,
            debt: Money::ZERO,
            last_entry: None,
            last_order: None,
            first_order: None,
        };
        self.accounts.insert(id, account);
        if request.balance.minor() > 0 {
            self.charge(id, request.balance, now)?;
        }
        match &request.login {
            Some(new) => self.set_credentials(id, new),
            None => Ok(self.accounts[&id].customer.clone().into()),
        }
    }

    pub(super) fn charge(
        &mut self,
        customer_id: CustomerId,
        amount: Money,
        now: Timestamp,
    ) -> Decision {
        validate(&[(is_amount(amount), "/amount")])?;
        self.known(customer_id)?;
        self.check_room(customer_id, amount.minor())?;
        let id = ChargeId::new(next_id(self.charges.len()));
        let row = ChargeRow {
            refunded: Money::ZERO,
            disputed: Money::ZERO,
            reported_refunds: Money::ZERO,
            id,
            customer_id,
            amount,
            status: ChargeStatus::Succeeded,
            created_at: now,
            source: None,
            failure: None,
            settled_at: None,
            balance_after: None,
        };
        self.charges.insert(id, row);
        self.credit_charge(id, now);
        Ok(self.charge_output(&self.charges[&id]).into())
    }

    pub(super) fn open_charge(&mut self, request: &OpenCharge, now: Timestamp) -> Decision {
        let OpenCharge { customer_id, amount, payment_method, gateway, reference } =
            request.clone();
        validate(&[
            (is_amount(amount), "/amount"),
            (payment_method.as_deref().is_none_or(is_text), "/payment_method"),
        ])?;
        self.known(customer_id)?;
        let is_pending = |row: &&ChargeRow| {
            row.customer_id == customer_id && row.status == ChargeStatus::Pending
        };
        let pending: Vec<i64> =
            self.charges.values().filter(is_pending).map(|row| row.amount.minor()).collect();
        if pending.len() >= MAX_PENDING_CHARGES {
            return Err(Refusal::TooManyPendingCharges { retry_after: PENDING_RETRY_AFTER });
        }
        self.check_room(customer_id, pending.iter().sum::<i64>() + amount.minor())?;
        let id = ChargeId::new(next_id(self.charges.len()));
        let row = ChargeRow {
            refunded: Money::ZERO,
            disputed: Money::ZERO,
            reported_refunds: Money::ZERO,
            id,
            customer_id,
            amount,
            status: ChargeStatus::Pending,
            created_at: now,
            source: Some(ChargeSource { gateway, reference, payment_method }),
            failure: None,
            settled_at: None,
            balance_after: None,
        };
        self.charges.insert(id, row);
        Ok(self.charge_output(&self.charges[&id]).into())
    }

    pub(super) fn settle_charge(&mut self, request: &SettleCharge, now: Timestamp) -> Decision {
        let charge_id = request.charge_id;
        let Some(row) = self.charges.get(&charge_id).cloned() else {
            return Err(Refusal::ChargeNotFound { charge_id });
        };
        let is_final = match request.settlement {
            Settlement::Paid => row.status == ChargeStatus::Succeeded,
            Settlement::Declined(_) => row.status != ChargeStatus::Pending,
        };
        if !is_final {
            if request.settlement == Settlement::Paid {
                self.check_room(row.customer_id, row.amount.minor())?;
                self.credit_charge(charge_id, now);
            }
            let row = self.charges.get_mut(&charge_id).unwrap();
            row.settled_at = Some(now);
            (row.status, row.failure) = match &request.settlement {
                Settlement::Paid => (ChargeStatus::Succeeded, None),
                Settlement::Declined(reason) => (ChargeStatus::Failed, Some(reason.clone())),
            };
        }
        Ok(self.charge_output(&self.charges[&charge_id]).into())
    }

    /// Adds the amount of a charge to the balance.
    pub(super) fn credit_charge(&mut self, id: ChargeId, now: Timestamp) {
        let (customer_id, amount) = (self.charges[&id].customer_id, self.charges[&id].amount);
        let entry = self.book(customer_id, EntryKind::Charge, amount.minor(), None, now);
        self.ledger[usize::try_from(entry.id.get() - 1).unwrap()].charge_id = Some(id);
        self.pay_debt(&LedgerEntry { charge_id: Some(id), ..entry }, now);
        let balance = self.accounts[&customer_id].balance;
        self.charges.get_mut(&id).unwrap().balance_after = Some(balance);
    }

    pub(super) fn charge_output(&self, row: &ChargeRow) -> Charge {
        let balance = row.balance_after.unwrap_or(self.accounts[&row.customer_id].balance);
        Charge {
            refunded: row.refunded,
            disputed: row.disputed,
            id: row.id,
            customer_id: row.customer_id,
            amount: row.amount,
            status: row.status,
            balance,
            currency: CURRENCY,
            failure: row.failure.clone(),
            created_at: row.created_at,
        }
    }

    pub(super) fn debit(&mut self, request: &DebitBalance, now: Timestamp) -> Decision {
        let DebitBalance { customer_id, amount, note } = request;
        validate(&[
            (is_amount(*amount), "/amount"),
            (note.as_deref().is_none_or(is_text), "/note"),
        ])?;
        self.check_funds(*customer_id, amount.minor())?;
        let entry = self.book(*customer_id, EntryKind::Debit, -amount.minor(), None, now);
        self.ledger.last_mut().unwrap().note.clone_from(note);
        Ok(Debit {
            id: entry.id,
            customer_id: *customer_id,
            amount: *amount,
            status: ChargeStatus::Succeeded,
            balance: entry.balance_after,
            currency: CURRENCY,
            created_at: now,
        }
        .into())
    }

    /// Moves money on a balance and appends the ledger entry.
    pub(super) fn book(
        &mut self,
        customer_id: CustomerId,
        kind: EntryKind,
        amount: i64,
        order_id: Option<OrderId>,
        now: Timestamp,
    ) -> LedgerEntry {
        let id = LedgerEntryId::new(next_id(self.ledger.len()));
        let account = self.accounts.get_mut(&customer_id).unwrap();
        account.balance = Money::from_minor(account.balance.minor() + amount);
        let entry = LedgerEntry {
            id,
            customer_id,
            kind,
            amount: Money::from_minor(amount),
            balance_after: account.balance,
            order_id,
            charge_id: None,
            note: None,
            created_at: now,
            previous: account.last_entry.replace(id),
        };
        self.ledger.push(entry.clone());
        entry
    }

    pub(super) fn set_credentials(&mut self, customer_id: CustomerId, new: &NewLogin) -> Decision {
        if self.has_login(&new.login).is_some_and(|owner| owner != customer_id) {
            return Err(Refusal::LoginTaken { login: new.login.clone() });
        }
        let role = new.role.unwrap_or(self.account(customer_id)?.customer.role);
        self.keep_an_admin(customer_id, role == Role::Admin)?;
        self.reset_attempts(&new.login);
        self.passwords.insert(customer_id, new.password.clone());
        let customer = &mut self.accounts.get_mut(&customer_id).unwrap().customer;
        (customer.login, customer.role) = (Some(new.login.clone()), role);
        Ok(customer.clone().into())
    }

    pub(super) fn attempt_login(&mut self, login: &str, now: Timestamp) -> Decision {
        let recent = self.attempts.get(login).copied().filter(|(_, last)| is_recent(*last, now));
        let (failures, last) = recent.unwrap_or((0, now));
        let excess = failures - FREE_LOGIN_FAILURES;
        if excess > 0 {
            let lock = MAX_LOGIN_WAIT.min(1 << (excess - 1).min(20));
            let retry_after = last.unix() + lock - now.unix();
            if retry_after > 0 {
                return Err(Refusal::TooManyRequests { retry_after });
            }
        }
        self.attempts.insert(login.to_owned(), (failures + 1, now));
        Ok(().into())
    }

    pub(super) fn forget_attempts(&mut self, now: Timestamp) {
        self.attempts.retain(|_, (_, last)| is_recent(*last, now));
    }

    pub(super) fn reset_attempts(&mut self, login: &str) {
        self.attempts.remove(login);
    }

    pub(super) fn has_login(&self, login: &str) -> Option<CustomerId> {
        let mut customers = self.accounts.values().map(|account| &account.customer);
        customers.find(|customer| customer.login.as_deref() == Some(login)).map(|found| found.id)
    }

    pub(super) fn check_room(&self, customer_id: CustomerId, amount: i64) -> Result<(), Refusal> {
        let balance = self.account(customer_id)?.balance;
        if balance.minor() + amount <= MAX_BALANCE {
            return Ok(());
        }
        Err(Refusal::BalanceLimit { balance, limit: Money::from_minor(MAX_BALANCE) })
    }

    pub(super) fn check_funds(&self, customer_id: CustomerId, amount: i64) -> Result<(), Refusal> {
        let balance = self.account(customer_id)?.balance;
        if amount <= balance.minor() {
            return Ok(());
        }
        Err(Refusal::InsufficientBalance { balance, required: Money::from_minor(amount) })
    }
}

/// Logins of these histories are plain ASCII.
pub(super) fn is_login(new: &NewLogin) -> bool {
    is_text(&new.login) && !new.login.contains(' ')
}

pub(super) fn is_recent(last: Timestamp, now: Timestamp) -> bool {
    let age = now.unix() - last.unix();
    (-CLOCK_SKEW..=LOGIN_MEMORY).contains(&age)
}
