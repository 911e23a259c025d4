//! Purchases: the units of products with a purchase limit that each customer holds or has bought.

use super::misread::Misread;
use super::rows::Rows;
use crate::id::{CustomerId, ProductId};
use crate::model::product::Purchase;
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Purchases that were loaded, and their changes. A purchase without units has no row in a store.
#[derive(Debug, Default)]
pub struct Purchases {
    rows: Rows<(ProductId, CustomerId), Purchase>,
    /// The units of all live orders, by customer, of products that may get a limit.
    live: HashMap<ProductId, BTreeMap<CustomerId, i64>>,
    cleared: BTreeSet<ProductId>,
    misread: Misread,
}

/// For stores.
impl Purchases {
    /// Adds the units that the store has; zero without a row.
    pub fn provide(&mut self, product_id: ProductId, customer_id: CustomerId, units: i64) {
        let row = Purchase { product_id, customer_id, units };
        self.rows.provide((product_id, customer_id), Some(row));
    }

    /// Adds the units of all live orders of a product, by customer.
    pub fn provide_live(&mut self, product: ProductId, units: BTreeMap<CustomerId, i64>) {
        self.live.entry(product).or_insert(units);
    }

    /// The products of which all rows are to be deleted, before the changed rows are saved.
    #[must_use]
    pub const fn cleared(&self) -> &BTreeSet<ProductId> {
        &self.cleared
    }

    /// The rows to insert or to replace, and those without units, which are to be deleted.
    #[must_use]
    pub fn changed(&self) -> (Vec<&Purchase>, Vec<&Purchase>) {
        let changed = self.rows.changed().into_iter().map(|(row, _)| row);
        changed.partition(|row| row.units > 0)
    }
}

/// For rules and copies.
impl Purchases {
    pub(crate) fn is_loaded(&self, product: ProductId, customer: CustomerId) -> bool {
        self.rows.is_loaded((product, customer))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_live_loaded(&self, product: ProductId) -> bool {
        self.live.contains_key(&product)
    }

    /// Returns the units of a product with a limit.
    pub(crate) fn units(&self, product: ProductId, customer: CustomerId) -> i64 {
        self.rows.get((product, customer)).map_or(0, |row| row.units)
    }

    /// Counts units that an order takes, or gives back if negative.
    pub(crate) fn count(
        &mut self,
        product: ProductId,
        customer: CustomerId,
        units: i64,
        has_limit: bool,
    ) {
        // The limit may be set later in the batch, when these units are not in the store yet.
        if !self.live.is_empty()
            && let Some(live) = self.live.get_mut(&product)
        {
            let sum = live.entry(customer).or_default();
            *sum = sum.saturating_add(units);
        }
        if has_limit && let Some(row) = self.rows.get_mut((product, customer)) {
            row.units = row.units.saturating_add(units);
        }
    }

    /// Begins to count a product that gets a limit, with the units of its live orders.
    pub(crate) fn begin(&mut self, product: ProductId) {
        let live = self.misread.check(self.live.get(&product)).cloned().unwrap_or_default();
        for (customer_id, units) in live.into_iter().filter(|(_, units)| *units > 0) {
            self.insert(Purchase { product_id: product, customer_id, units });
        }
    }

    /// Ends the count of a product that loses its limit.
    pub(crate) fn end(&mut self, product: ProductId) {
        self.rows.forget(|(of, _)| *of == product);
        self.cleared.insert(product);
    }

    pub(crate) fn insert(&mut self, row: Purchase) {
        self.rows.insert((row.product_id, row.customer_id), row);
    }

    /// The marks of reads that were not loaded.
    pub(super) fn misread(&self) -> bool {
        self.misread.happened() || self.rows.misread().happened()
    }
}
