//! Edits a cart: set, add, remove and clear. A cart reserves no stock.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::{Refusal, Shortage};
use crate::id::{CustomerId, ProductId};
use crate::limits::{MAX_ORDER_LINES, MAX_STOCK};
use crate::model::audit_trail::Action;
use crate::model::cart::{Cart, CartLines};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Changes a customer's cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditCart {
    /// The cart's owner.
    pub customer_id: CustomerId,
    /// The edit.
    pub edit: CartEdit,
}

/// An edit of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CartEdit {
    /// Sets the quantity of a product; 0 removes it.
    Set(ProductId, i64),
    /// Adds to the quantity of a product.
    Add(ProductId, i64),
    /// Removes a product.
    Remove(ProductId),
    /// Removes all products.
    Clear,
}

impl Rule for EditCart {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        needs.cart(state, self.customer_id);
        if let CartEdit::Set(id, _) | CartEdit::Add(id, _) = self.edit {
            needs.product(state, id);
        }
    }

    fn version(&self, state: &State, now: Timestamp) -> Result<Version, Refusal> {
        state.account(self.customer_id)?;
        let lines = state.cart(self.customer_id).cloned().unwrap_or_default();
        Ok(state.version_of(priced(state, self.customer_id, lines, now)))
    }

    fn action(&self) -> Option<Action> {
        Some(Action::CartChanged)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        match self.edit {
            CartEdit::Set(_, quantity) => {
                Checks::default().integer(quantity, 0..=MAX_STOCK, "/quantity").done()?;
            }
            CartEdit::Add(_, quantity) => {
                Checks::default().integer(quantity, 1..=MAX_STOCK, "/quantity").done()?;
            }
            CartEdit::Remove(_) | CartEdit::Clear => {}
        }
        state.known_customer(self.customer_id)?;
        let mut lines = state.cart(self.customer_id).cloned().unwrap_or_default();
        match self.edit {
            CartEdit::Clear => lines.clear(),
            CartEdit::Set(id, 0) | CartEdit::Remove(id) => {
                lines.remove(&id).ok_or(Refusal::NotInCart { product_id: id })?;
            }
            CartEdit::Set(id, quantity) => set_quantity(state, &mut lines, id, quantity)?,
            CartEdit::Add(id, more) => {
                let held = lines.get(&id).copied().unwrap_or(0);
                set_quantity(state, &mut lines, id, held.saturating_add(more))?;
            }
        }

        state.carts.insert(self.customer_id, (self.customer_id, lines.clone()));
        Ok(Output::Cart(priced(state, self.customer_id, lines, context.now)))
    }
}

fn priced(state: &State, customer_id: CustomerId, lines: CartLines, now: Timestamp) -> Cart {
    let product = |id| state.products.get(id).map(|product| product.clone().at(now));
    let items = lines.into_iter().filter_map(|(id, quantity)| Some((product(id)?, quantity)));
    Cart::priced(customer_id, items)
}

fn set_quantity(
    state: &State,
    lines: &mut CartLines,
    id: ProductId,
    quantity: i64,
) -> Result<(), Refusal> {
    let available = state.active_product(id)?.stock;
    if quantity > available {
        let shortage = Shortage { product_id: id, requested: quantity, available };
        return Err(Refusal::InsufficientStock { shortages: vec![shortage] });
    }
    if lines.insert(id, quantity).is_none() && lines.len() > MAX_ORDER_LINES {
        let detail = format!("a cart holds at most {MAX_ORDER_LINES} products: order some first");
        return Err(Refusal::invalid("/product_id", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    fn edit(edit: CartEdit) -> EditCart {
        EditCart { customer_id: CustomerId::new(1), edit }
    }

    fn world() -> World {
        World::default()
            .with_customer(1, 0)
            .with_product(3, 10, 5)
            .with_product(4, 20, 5)
            .with_archived(5)
    }

    const THREE: ProductId = ProductId::new(3);
    const FOUR: ProductId = ProductId::new(4);

    #[rstest]
    #[case::set(&[CartEdit::Set(THREE, 2)], &[(3, 2)], 20)]
    #[case::set_replaces(&[CartEdit::Set(THREE, 2), CartEdit::Set(THREE, 5)], &[(3, 5)], 50)]
    #[case::add(&[CartEdit::Add(THREE, 2), CartEdit::Add(THREE, 3)], &[(3, 5)], 50)]
    #[case::two(&[CartEdit::Set(FOUR, 1), CartEdit::Set(THREE, 1)], &[(3, 1), (4, 1)], 30)]
    #[case::zero_removes(&[CartEdit::Set(THREE, 2), CartEdit::Set(THREE, 0)], &[], 0)]
    #[case::remove(&[CartEdit::Set(THREE, 2), CartEdit::Remove(THREE)], &[], 0)]
    #[case::clear(&[CartEdit::Set(THREE, 2), CartEdit::Clear], &[], 0)]
    #[case::clear_empty_cart(&[CartEdit::Clear], &[], 0)]
    fn cart_edits_change_items_and_total(
        #[case] steps: &[CartEdit],
        #[case] expected: &[(i64, i64)],
        #[case] total: i64,
    ) {
        let mut world = world();
        let mut last = None;
        for step in steps {
            let Ok(Output::Cart(cart)) = world.run(edit(*step)) else { panic!() };
            last = Some(cart);
        }
        let cart = last.unwrap();
        let held: Vec<_> =
            cart.items.iter().map(|item| (item.product_id.get(), item.quantity)).collect();
        assert_eq!((held.as_slice(), cart.total.minor()), (expected, total));
        assert_eq!(world.stock(3), 5, "a cart reserves no stock");
    }

    #[rstest]
    #[case::negative(CartEdit::Set(THREE, -1), "invalid_request")]
    #[case::add_zero(CartEdit::Add(THREE, 0), "invalid_request")]
    #[case::beyond_stock(CartEdit::Set(THREE, 6), "insufficient_stock")]
    #[case::beyond_stock_in_two_steps(CartEdit::Add(FOUR, 4), "insufficient_stock")]
    #[case::remove_missing(CartEdit::Remove(THREE), "not_in_cart")]
    #[case::set_missing_to_zero(CartEdit::Set(THREE, 0), "not_in_cart")]
    #[case::unknown(CartEdit::Set(ProductId::new(9), 1), "product_not_found")]
    #[case::archived(CartEdit::Set(ProductId::new(5), 1), "product_archived")]
    fn edit_cart_refuses_invalid_edits(#[case] step: CartEdit, #[case] refused: &str) {
        let mut world = world();
        world.run(edit(CartEdit::Set(FOUR, 2))).unwrap();
        assert_eq!(code(world.refused(edit(step))), refused);
    }

    #[test]
    fn cart_of_unknown_customer_is_refused() {
        let request = EditCart { customer_id: CustomerId::new(9), edit: CartEdit::Clear };
        assert_eq!(code(world().refused(request)), "customer_not_found");
    }
}
