//! `commerce top`: the best sellers as a bar chart.

use crate::chart::{Bar, Chart};
use crate::context::CommandContext;
use crate::error::CliError;
use crate::output;
use crate::values;
use clap::ValueEnum;
use commerce_core::{
    BestSellers, BestSellersBy, BestSellersRequest, Currency, Money, ProductStatus, Timestamp,
};

#[derive(clap::Args, Debug)]
pub(crate) struct TopCommand {
    /// Order of the ranking.
    #[arg(long, value_name = "ORDER", default_value = "units")]
    by: OrderArg,
    /// Length of the window in days of 24 hours, 1 to 366.
    #[arg(long, value_name = "DAYS", default_value_t = BestSellersRequest::default().days)]
    #[arg(value_parser = values::integer, allow_negative_numbers = true)]
    days: i64,
    /// Maximum number of products, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = BestSellersRequest::default().limit)]
    #[arg(value_parser = values::count, allow_negative_numbers = true)]
    limit: usize,
    /// End of the window (default: now).
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum OrderArg {
    /// Most units first
    Units,
    /// Most money first, after discounts
    Net,
}

impl TopCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let request = BestSellersRequest {
            days: self.days,
            limit: self.limit,
            at: self.at,
            by: match self.by {
                OrderArg::Units => BestSellersBy::Units,
                OrderArg::Net => BestSellersBy::Net,
            },
        };
        let ranking = context.shop.best_sellers(&request)?;
        let width = output::width();
        let currency = context.shop.currency();
        context.print(ranking, |ranking| {
            render(ranking, currency, self.days, width, output::colours())
        })
    }
}

fn render(
    ranking: &BestSellers,
    currency: Currency,
    days: i64,
    width: usize,
    colours: bool,
) -> String {
    let days = if days == 1 { "day".to_owned() } else { format!("{days} days") };
    let chart = Chart { width, colours };
    let title = chart.bold(&format!("Best sellers of the {days} to {}", ranking.to));
    if ranking.items.is_empty() {
        return format!("{title}\n\nNo sales after {}.", ranking.from);
    }
    let bars = ranking.items.iter().map(|item| Bar {
        rank: item.rank,
        name: &item.name,
        detail: currency.show(item.price),
        value: u64::try_from(item.net.map_or(item.units_sold, Money::minor)).unwrap_or(0),
        label: item.net.map_or_else(|| item.units_sold.to_string(), |net| currency.show(net)),
        archived: item.status == ProductStatus::Archived,
    });
    format!("{title}\n\n{}", chart.draw(&bars.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{MemoryStore, Shop};

    #[test]
    fn chart_of_a_window_without_sales_states_so() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let at = Some(Timestamp::from_unix(86_400));
        let request = BestSellersRequest { days: 1, at, ..BestSellersRequest::default() };
        let ranking = shop.best_sellers(&request).unwrap();
        assert_eq!(
            render(&ranking, Currency::KRW, 1, 80, false),
            "Best sellers of the day to 1970-01-02T00:00:00Z\n\nNo sales after 1970-01-01T00:00:00Z."
        );
    }
}
