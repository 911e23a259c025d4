//! The context of commands: an open shop and the output format.

use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::output::Output;
use crate::progress;
use crate::values::{Edge, KeyArg, PageArgs};
use commerce_core::{
    Actor, Error, Key, Money, Operation, Outcome, Page, PageRequest, Patch, PaymentGateway, Shop,
    Timestamp, Zone,
};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

pub(crate) struct CommandContext {
    pub(crate) database: Database,
    pub(crate) shop: Shop,
    pub(crate) output: Output,
    /// The key that was generated for a call.
    generated_key: OnceLock<Key>,
}

impl CommandContext {
    pub(crate) fn open(
        database: &Database,
        mode: OpenMode,
        gateway: Option<Arc<dyn PaymentGateway>>,
        actor: Option<Actor>,
        output: Output,
    ) -> Result<Self, CliError> {
        let builder = match actor {
            Some(actor) => Shop::builder().actor(actor),
            None => Shop::builder(),
        };
        let builder = match gateway {
            Some(gateway) => builder.gateway(gateway),
            None => builder,
        };
        let shop = builder.open(database.open(mode)?);
        Ok(Self { database: database.clone(), shop, output, generated_key: OnceLock::new() })
    }

    /// Executes an operation with its idempotency key, and notes on stderr if the answer is a replay.
    pub(crate) fn call<R: Operation>(
        &self,
        request: R,
        key: &KeyArg,
    ) -> Result<R::Output, CliError> {
        self.call_with_key(key, |key| self.shop.call(request).key(key).outcome())
    }

    /// Like [`CommandContext::call`], for a call that is not a single operation.
    pub(crate) fn call_with_key<T>(
        &self,
        key: &KeyArg,
        execute: impl FnOnce(&Key) -> Outcome<T>,
    ) -> Result<T, CliError> {
        let used = key.or_generate()?;
        if !key.is_given() {
            self.generated_key.get_or_init(|| used.clone());
        }
        let outcome = execute(&used);
        if outcome.replayed {
            self.output.note("(this key was used before: stored answer, no change)");
        }
        Ok(outcome.result?)
    }

    /// Adds the currency to an error, and to a retryable one the generated key: the caller needs it to
    /// repeat the call, also if the call succeeded and its result could not be written.
    pub(crate) fn annotate(&self, error: CliError) -> CliError {
        let error = error.in_currency(self.shop.currency());
        match self.generated_key.get() {
            Some(key) if error.is_retryable() => {
                error.with_hint(&format!("the key was {key}")).with_field("key", key.as_str())
            }
            _ => error,
        }
    }

    /// Prints a result that contains amounts. JSON output adds their currency.
    pub(crate) fn print<T: Serialize>(
        &self,
        body: T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        self.output.print(&self.shop.in_currency(body), |priced| text(&priced.body))
    }

    /// Prints a page of a list, and notes on stderr the cursor of the next one.
    pub(crate) fn list<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CliError> {
        self.page(&read(&page.request())?, |page| text(&page.items))
    }

    /// Like [`CommandContext::list`], for items with amounts. JSON output adds the currency to each item.
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

    /// Prints items of a list whose pages may have fewer items than asked for: follows its cursors until there are enough.
    pub(crate) fn search<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl Fn(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CliError> {
        self.page(&gather(page, read)?, |page| text(&page.items))
    }

    /// Like [`CommandContext::search`], for items with amounts. JSON output adds the currency to each item.
    pub(crate) fn search_priced<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl Fn(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), CliError> {
        let Page { items, next_cursor } = gather(page, read)?;
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
            self.output.note(format_args!("(more items: add --cursor {cursor})"));
        }
        Ok(())
    }

    /// Returns the instant that an end of a window stands for, in the zone of the shop.
    pub(crate) fn instant(
        &self,
        edge: Option<&Edge>,
        instant: impl FnOnce(&Edge, Zone) -> Timestamp,
    ) -> Result<Option<Timestamp>, CliError> {
        let Some(edge) = edge else { return Ok(None) };
        Ok(Some(instant(edge, self.shop.settings()?.zone)))
    }

    /// Returns the change of an instant, in which a day stands for its start.
    pub(crate) fn instant_patch(
        &self,
        patch: Option<&Patch<Edge>>,
    ) -> Result<Patch<Timestamp>, CliError> {
        Ok(match patch {
            None | Some(Patch::Keep) => Patch::Keep,
            Some(Patch::Remove) => Patch::Remove,
            Some(Patch::Set(edge)) => self.instant(Some(edge), Edge::start)?.into(),
        })
    }

    /// An amount with its currency.
    pub(crate) fn money(&self, amount: Money) -> String {
        self.shop.currency().show(amount)
    }

    /// An amount without its currency, for a column whose header names it.
    pub(crate) fn number(&self, amount: Money) -> String {
        self.shop.currency().number(amount)
    }

    /// The header of a column of amounts.
    pub(crate) fn head(&self, name: &str) -> String {
        format!(">{name} ({})", self.shop.currency())
    }
}

/// Reads pages until there are as many items as asked for, with a progress bar on a terminal.
fn gather<T>(
    page: &PageArgs,
    read: impl Fn(&PageRequest) -> Result<Page<T>, Error>,
) -> Result<Page<T>, CliError> {
    let mut request = page.request();
    let wanted = request.limit;
    let mut items = Vec::new();
    let mut bar = None;
    loop {
        let page = read(&request)?;
        items.extend(page.items);
        let left = wanted.saturating_sub(items.len());
        if left == 0 || page.next_cursor.is_none() {
            return Ok(Page { items, next_cursor: page.next_cursor });
        }
        request = PageRequest { limit: left, cursor: page.next_cursor };
        bar.get_or_insert_with(|| progress::pages("searching")).inc(1);
    }
}
