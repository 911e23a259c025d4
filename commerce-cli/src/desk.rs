//! The desk that commands work at: an open shop, and the way answers are wanted.

use crate::database::{Access, Database};
use crate::failure::Failure;
use crate::output::Output;
use crate::values::{KeyArg, PageArgs};
use commerce_core::{Error, Key, Money, Outcome, Page, PageRequest, PaymentGateway, Request, Shop};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

pub(crate) struct Desk {
    pub(crate) database: Database,
    pub(crate) shop: Shop,
    pub(crate) output: Output,
    /// The key that was made up for a call.
    made_up: OnceLock<Key>,
}

impl Desk {
    pub(crate) fn open(
        database: &Database,
        access: Access,
        gateway: Option<Arc<dyn PaymentGateway>>,
        output: Output,
    ) -> Result<Self, Failure> {
        let builder = Shop::builder();
        let builder = match gateway {
            Some(gateway) => builder.gateway(gateway),
            None => builder,
        };
        let shop = builder.open(database.open(access)?);
        Ok(Self { database: database.clone(), shop, output, made_up: OnceLock::new() })
    }

    /// Carries a call out with its key, and tells a person when it was answered before.
    pub(crate) fn call<R: Request>(&self, request: R, key: &KeyArg) -> Result<R::Answer, Failure> {
        self.ask(key, |key| self.shop.call(request).key(key).outcome())
    }

    /// As [`Desk::call`], for what is more than one request.
    pub(crate) fn ask<T>(
        &self,
        key: &KeyArg,
        ask: impl FnOnce(&Key) -> Outcome<T>,
    ) -> Result<T, Failure> {
        let used = key.or_made_up()?;
        if !key.is_given() {
            self.made_up.get_or_init(|| used.clone());
        }
        let outcome = ask(&used);
        if outcome.replayed {
            self.output.note("(answered before with this key, nothing changed)");
        }
        Ok(outcome.result?)
    }

    /// A failure with what is known here: the currency, and the key that was made up, which whoever is to
    /// repeat the call needs. So too when the call was carried out and its answer could not be written.
    pub(crate) fn told(&self, failure: Failure) -> Failure {
        let failure = failure.in_currency(self.shop.currency());
        match self.made_up.get() {
            Some(key) if failure.is_retryable() => {
                failure.and(&format!("the key was {key}")).with("key", key.as_str())
            }
            _ => failure,
        }
    }

    /// Gives an answer with amounts, which the JSON has with their currency.
    pub(crate) fn give<T: Serialize>(
        &self,
        body: T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        self.output.give(&self.shop.in_currency(body), |shown| text(&shown.body))
    }

    /// Gives a page of a list, and tells a person how to see the next one.
    pub(crate) fn list<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        self.page(&read(&page.request())?, |page| text(&page.items))
    }

    /// As [`Desk::list`], for what has amounts: the JSON of each has their currency.
    pub(crate) fn list_priced<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        let Page { items, next_cursor } = read(&page.request())?;
        let priced = items.iter().map(|item| self.shop.in_currency(item)).collect();
        self.page(&Page { items: priced, next_cursor }, |_| text(&items))
    }

    fn page<T: Serialize>(
        &self,
        page: &Page<T>,
        text: impl FnOnce(&Page<T>) -> String,
    ) -> Result<(), Failure> {
        self.output.give(page, text)?;
        if let Some(cursor) = &page.next_cursor {
            self.output.note(format_args!("(there are more: add --cursor {cursor})"));
        }
        Ok(())
    }

    /// An amount for a person.
    pub(crate) fn money(&self, amount: Money) -> String {
        self.shop.currency().show(amount)
    }

    /// An amount for a column whose head names the currency.
    pub(crate) fn number(&self, amount: Money) -> String {
        self.shop.currency().number(amount)
    }

    /// The head of a column of money.
    pub(crate) fn head(&self, name: &str) -> String {
        format!(">{name} ({})", self.shop.currency())
    }
}
