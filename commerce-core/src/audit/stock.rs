//! Stock: the stock of a product is the sum of its movements less the units that orders keep.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::id::ProductId;
use crate::model::order::Order;
use crate::model::product::StockMovement;
use crate::store::Record;

const CHECK: &str = "stock";

#[derive(Default)]
pub(super) struct StockLevels {
    products: ById<ProductId, Level>,
}

/// The stock of a product, and the sums that explain it. The sums are wider than stock, so that no damaged quantity
/// makes them overflow.
struct Level {
    stock: i64,
    moved: i128,
    ordered: i128,
}

impl Check for StockLevels {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Product(product) => {
                let level = Level { stock: product.stock, moved: 0, ordered: 0 };
                self.products.push(product.id, level);
            }
            Record::StockMovement(movement) => self.movement(movement, problems),
            Record::Order(order) => self.order(order, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, Level { stock, moved, ordered }) in self.products.iter() {
            let mut report = |detail| problems.add(CHECK, format!("product {id}"), detail);
            if *stock < 0 {
                report(format!("the stock is {stock}, below zero"));
            }
            let due = moved.saturating_sub(*ordered);
            if i128::from(*stock) != due {
                report(format!(
                    "the stock is {stock} and should be {due}: {moved} put in and {ordered} in orders"
                ));
            }
        }
    }
}

impl StockLevels {
    fn movement(&mut self, movement: &StockMovement, problems: &mut Problems) {
        let StockMovement { id, product_id, delta, .. } = movement;
        let Some(level) = self.products.get_mut(*product_id) else {
            let detail = format!("product {product_id} does not exist");
            return problems.add(CHECK, format!("stock movement {id}"), detail);
        };
        level.moved = level.moved.saturating_add(i128::from(*delta));
    }

    fn order(&mut self, order: &Order, problems: &mut Problems) {
        for line in &order.lines {
            let product_id = line.product_id;
            let Some(level) = self.products.get_mut(product_id) else {
                let detail = format!("has product {product_id}, which does not exist");
                problems.add(CHECK, format!("order {}", order.id), detail);
                continue;
            };
            level.ordered = level.ordered.saturating_add(i128::from(order.units_out(line)));
        }
    }
}
