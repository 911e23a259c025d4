//! The context that commands work at: an open shop, and the way answers are wanted.

use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::output::Output;
use crate::values::{KeyArg, PageArgs};
use commerce_core::{
    Error, Key, Money, Operation, Outcome, Page, PageRequest, PaymentGateway, Shop,
};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

pub(crate) struct CommandContext {
    pub(crate) database: Database,
    pub(crate) shop: Shop,
    pub(crate) output: Output,
    /// The key that was made up for a call.
    generated_key: OnceLock<Key>,
}

impl CommandContext {
    pub(crate) fn open(
        database: &Database,
        access: OpenMode,
        gateway: Option<Arc<dyn PaymentGateway>>,
        output: Output,
    ) -> Result<Self, CliError> {
        let builder = Shop::builder();
        let builder = match gateway {
            Some(gateway) => builder.gateway(gateway),
            None => builder,
        };
        let shop = builder.open(database.open(access)?);
        Ok(Self { database: database.clone(), shop, output, generated_key: OnceLock::new() })
    }

    /// Carries a call out with its key, and tells a person when it was answered before.
    pub(crate) fn call<R: Operation>(
        &self,
        request: R,
        key: &KeyArg,
    ) -> Result<R::Output, CliError> {
        self.call_with_key(key, |key| self.shop.call(request).key(key).outcome())
    }

    /// As [`CommandContext::call`], for what is more than one request.
    pub(crate) fn call_with_key<T>(
        &self,
        key: &KeyArg,
        ask: impl FnOnce(&Key) -> Outcome<T>,
    ) -> Result<T, CliError> {
        let used = key.or_generate()?;
        if !key.is_given() {
            self.generated_key.get_or_init(|| used.clone());
        }
        let outcome = ask(&used);
        if outcome.replayed {
            self.output.note("(answered before with this key, nothing changed)");
        }
        Ok(outcome.result?)
    }

    /// A error with what is known here: the currency, and the key that was made up, which whoever is to
    /// repeat the call needs. So too when the call was carried out and its answer could not be written.
    pub(crate) fn annotate(&self, error: CliError) -> CliError {
        let error = error.in_currency(self.shop.currency());
        match self.generated_key.get() {
            Some(key) if error.is_retryable() => {
                error.and(&format!("the key was {key}")).with("key", key.as_str())
            }
            _ => error,
        }
    }

    /// Gives an answer with amounts, which the JSON has with their currency.
    pub(crate) fn print<T: Serialize>(
        &self,
        body: T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        self.output.print(&self.shop.in_currency(body), |shown| text(&shown.body))
    }

    /// Gives a page of a list, and tells a person how to see the next one.
    pub(crate) fn list<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CliError> {
        self.page(&read(&page.request())?, |page| text(&page.items))
    }

    /// As [`CommandContext::list`], for what has amounts: the JSON of each has their currency.
    pub(crate) fn list_priced<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CliError> {
        let Page { items, next_cursor } = read(&page.request())?;
        let priced = items.iter().map(|item| self.shop.in_currency(item)).collect();
        self.page(&Page { items: priced, next_cursor }, |_| text(&items))
    }

    fn page<T: Serialize>(
        &self,
        page: &Page<T>,
        text: impl FnOnce(&Page<T>) -> String,
    ) -> Result<(), CliError> {
        self.output.print(page, text)?;
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
