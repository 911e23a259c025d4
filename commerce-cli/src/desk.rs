//! The desk that commands work at: an open shop, and the way answers are wanted.

use crate::database::{Access, Database};
use crate::failure::Failure;
use crate::output::Output;
use crate::values::{KeyArg, PageArgs};
use commerce_core::{Error, Money, Page, PageRequest, Request, Shop};
use serde::Serialize;

pub(crate) struct Desk {
    pub(crate) shop: Shop,
    pub(crate) output: Output,
}

impl Desk {
    pub(crate) fn open(
        database: &Database,
        access: Access,
        output: Output,
    ) -> Result<Self, Failure> {
        Ok(Self { shop: Shop::open(database.open(access)?), output })
    }

    /// Carries a call out with its key, and tells a person when it was answered before.
    pub(crate) fn call<R: Request>(&self, request: R, key: &KeyArg) -> Result<R::Answer, Failure> {
        let made = key.or_made_up()?;
        let outcome = self.shop.call(request).key(&made).submit().outcome();
        if outcome.replayed {
            self.output.note("(answered before with this key, nothing changed)");
        }
        outcome.result.map_err(|error| {
            let failure = Failure::from(error);
            // Whoever is to repeat the call needs the key that was made up for it.
            if key.is_given() || !failure.is_retryable() {
                return failure;
            }
            failure.and(&format!("the key was {made}")).with("key", made.as_str())
        })
    }

    /// Gives a page of a list, and tells a person how to see the next one.
    pub(crate) fn list<T: Serialize>(
        &self,
        page: &PageArgs,
        read: impl FnOnce(&PageRequest) -> Result<Page<T>, Error>,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        let page = read(&page.request())?;
        self.output.give(&page, |page| text(&page.items))?;
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
