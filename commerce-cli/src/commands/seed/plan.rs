//! The data of a seed. The orders are generated twice: once to sum up the stock and money they need, and once to
//! place them, so that they are not kept in memory.

use crate::prng::{SplitMix, Zipf};
use commerce_core::{AddCustomer, AddProduct, Money};

const ADJECTIVES: [&str; 16] = [
    "Green",
    "Roasted",
    "Wild",
    "Little",
    "Golden",
    "Mountain",
    "Smoked",
    "Sweet",
    "Old town",
    "Crisp",
    "Dark",
    "Island",
    "Fresh",
    "Winter",
    "Red",
    "Grandmother's",
];

const NOUNS: [&str; 32] = [
    "tea",
    "coffee",
    "almonds",
    "honey",
    "rice cakes",
    "noodles",
    "olive oil",
    "sea salt",
    "chocolate",
    "blueberries",
    "kimchi",
    "cheese",
    "rye bread",
    "butter",
    "apples",
    "pears",
    "plum jam",
    "walnuts",
    "lemonade",
    "oats",
    "mushrooms",
    "tomatoes",
    "ginger",
    "peppers",
    "lentils",
    "soap",
    "candles",
    "cups",
    "baskets",
    "blankets",
    "notebooks",
    "pencils",
];

const GIVEN: [&str; 24] = [
    "Minjun", "Seoyeon", "Jihoon", "Haeun", "Anna", "Paul", "Emma", "Luca", "Mei", "Wei", "Yuki",
    "Haruto", "Sofia", "Mateo", "Amina", "Omar", "Ada", "Alan", "Grace", "Edsger", "Barbara",
    "Leslie", "Ingrid", "Lars",
];

const FAMILY: [&str; 24] = [
    "Kim", "Lee", "Park", "Choi", "Schmidt", "Weber", "Rossi", "Bianchi", "Wang", "Li", "Sato",
    "Suzuki", "Garcia", "Lopez", "Hassan", "Ali", "Jones", "Brown", "Murphy", "Kelly", "Dubois",
    "Martin", "Hansen", "Berg",
];

/// The Zipf exponent of sales: about that of word frequencies, which sales in shops resemble.
const SKEW: f64 = 0.9;

/// The number of rows of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) products: u64,
    pub(super) customers: u64,
    pub(super) orders: u64,
}

pub(super) struct Plan {
    seed: u64,
    /// The root of all random numbers, from the seed and the sizes.
    root: u64,
    sizes: Sizes,
    /// The products by popularity, the best seller first.
    ranking: Vec<usize>,
    popularity: Zipf,
    prices: Vec<i64>,
    /// Units of each product in all orders.
    sold: Vec<i64>,
    /// Money spent by each customer in all orders.
    spent: Vec<i64>,
}

/// An order: a customer number, and product numbers with units.
pub(super) struct PlannedOrder {
    pub(super) customer: u64,
    pub(super) items: Vec<(u64, i64)>,
}

impl Plan {
    pub(super) fn new(seed: u64, sizes: Sizes) -> Self {
        let root = [sizes.products, sizes.customers, sizes.orders]
            .into_iter()
            .fold(seed, |root, size| SplitMix::new(root ^ size.rotate_left(32)).next());
        let mut random = SplitMix::new(root);
        let products = usize::try_from(sizes.products).unwrap_or(usize::MAX);
        let customers = usize::try_from(sizes.customers).unwrap_or(usize::MAX);
        let prices =
            (0..products).map(|_| signed(random.between(8, 400)).saturating_mul(50)).collect();
        let mut plan = Self {
            seed,
            root,
            sizes,
            ranking: random.shuffled(products),
            popularity: Zipf::new(products, SKEW),
            prices,
            sold: vec![0; products],
            spent: vec![0; customers],
        };
        plan.sum_orders();
        plan
    }

    /// The seed.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The product of a number, with stock for all orders and a few more units.
    pub(super) fn product(&self, number: u64) -> AddProduct {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let left = signed(self.random("stock", number).between(5, 120));
        let stock = self.sold.get(index).map_or(left, |sold| sold.saturating_add(left));
        AddProduct::new(product_name(index), Money::from_minor(self.price(index)), stock)
    }

    /// The customer of a number, with money for all orders and a little more.
    pub(super) fn customer(&self, number: u64) -> AddCustomer {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let left = signed(self.random("money", number).between(10, 500)).saturating_mul(100);
        let balance = self.spent.get(index).map_or(left, |spent| spent.saturating_add(left));
        AddCustomer {
            balance: Money::from_minor(balance),
            ..AddCustomer::new(customer_name(index))
        }
    }

    /// The order of a number.
    pub(super) fn order(&self, number: u64) -> PlannedOrder {
        let mut random = self.random("order", number);
        let customer = random.below(self.sizes.customers);
        let lines = usize::try_from(random.between(1, 4)).unwrap_or(1);
        let ranks = self.popularity.choose_distinct(lines, &mut random);
        let mut item = |rank: usize| {
            let product = self.ranking.get(rank).copied().unwrap_or(0);
            (u64::try_from(product).unwrap_or(0), signed(random.between(1, 3)))
        };
        PlannedOrder { customer, items: ranks.into_iter().map(&mut item).collect() }
    }

    /// The offset of an order within a span, in seconds. It never decreases from one order to the next.
    pub(super) fn offset(&self, number: u64, span: i64) -> i64 {
        let span = u64::try_from(span).unwrap_or(0);
        let within = self.random("moment", number).below(span);
        let seconds = u128::from(number).saturating_mul(span.into()).saturating_add(within.into());
        let seconds = seconds.checked_div(self.sizes.orders.into()).unwrap_or(0);
        i64::try_from(seconds).unwrap_or(0)
    }

    fn sum_orders(&mut self) {
        for number in 0..self.sizes.orders {
            let order = self.order(number);
            for (product, units) in order.items {
                let index = usize::try_from(product).unwrap_or(usize::MAX);
                let amount = self.price(index).saturating_mul(units);
                add(&mut self.sold, index, units);
                add(&mut self.spent, usize::try_from(order.customer).unwrap_or(usize::MAX), amount);
            }
        }
    }

    fn price(&self, index: usize) -> i64 {
        self.prices.get(index).copied().unwrap_or(1)
    }

    /// An independent random sequence for each row, so that a row does not depend on those before it.
    fn random(&self, what: &str, number: u64) -> SplitMix {
        let salt = what.bytes().fold(0_u64, |salt, byte| salt.rotate_left(8) ^ u64::from(byte));
        let mut random = SplitMix::new(self.root ^ salt);
        SplitMix::new(random.next() ^ SplitMix::new(number).next())
    }
}

fn add(sums: &mut [i64], index: usize, by: i64) {
    if let Some(sum) = sums.get_mut(index) {
        *sum = sum.saturating_add(by);
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn product_name(index: usize) -> String {
    name(&ADJECTIVES, &NOUNS, index)
}

fn customer_name(index: usize) -> String {
    name(&GIVEN, &FAMILY, index)
}

/// A first and a last word, a different pair for each index, with a number appended once all pairs are used.
fn name<const F: usize, const L: usize>(
    first: &[&'static str; F],
    last: &[&'static str; L],
    index: usize,
) -> String {
    let round = index.div_euclid(L);
    let first = first.get(index.saturating_add(round).rem_euclid(F)).copied().unwrap_or_default();
    let last = last.get(index.rem_euclid(L)).copied().unwrap_or_default();
    match round.div_euclid(F) {
        0 => format!("{first} {last}"),
        times => format!("{first} {last} {}", times.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SIZES: Sizes = Sizes { products: 40, customers: 10, orders: 500 };

    #[test]
    fn plan_depends_on_the_seed_only() {
        let all = |seed| {
            let plan = Plan::new(seed, SIZES);
            let products = (0..SIZES.products).map(|n| plan.product(n)).collect::<Vec<_>>();
            let orders = (0..SIZES.orders).map(|n| plan.order(n).items).collect::<Vec<_>>();
            (products, orders)
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn order_times_are_sorted() {
        let plan = Plan::new(1, SIZES);
        let offsets: Vec<i64> =
            (0..SIZES.orders).map(|number| plan.offset(number, 1_000)).collect();
        assert!(offsets.is_sorted());
        assert!(offsets.iter().all(|offset| (0..1_000).contains(offset)));
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<String> = (0..2_000).map(product_name).collect();
        assert_eq!(names.len(), 2_000);
        let names: BTreeSet<String> = (0..2_000).map(customer_name).collect();
        assert_eq!(names.len(), 2_000);
    }
}
