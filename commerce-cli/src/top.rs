//! `commerce top`: the best sellers, drawn as bars for a person.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::output;
use crate::values;
use chart::Chart;
use commerce_core::{BestSellers, BestSellersRequest, Currency, ProductStatus, Timestamp};

mod chart;

/// How wide the drawing is when stdout is no terminal.
const PIPED_WIDTH: usize = 80;

/// Shows the best sellers of the last days, as bars.
#[derive(clap::Args, Debug)]
pub(crate) struct Top {
    /// How many days of 24 hours to look back, 1 to 366.
    #[arg(long, default_value_t = BestSellersRequest::default().days)]
    #[arg(value_parser = values::integer, allow_negative_numbers = true)]
    days: i64,
    /// How many products to show, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = BestSellersRequest::default().limit)]
    #[arg(value_parser = values::count, allow_negative_numbers = true)]
    limit: usize,
    /// The instant to look back from; now when absent.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

impl Top {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let request = BestSellersRequest { days: self.days, limit: self.limit, at: self.at };
        let ranking = context.shop.best_sellers(&request)?;
        let width = output::terminal_width().map_or(PIPED_WIDTH, usize::from);
        let currency = context.shop.currency();
        context.print(ranking, |ranking| {
            drawing(ranking, currency, self.days, width, output::colours())
        })
    }
}

fn drawing(
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
        return format!("{title}\n\nNothing was sold after {}.", ranking.from);
    }
    let bars = ranking.items.iter().map(|item| chart::Bar {
        rank: item.rank,
        name: &item.name,
        price: currency.show(item.price),
        units: u64::try_from(item.units_sold).unwrap_or(0),
        faded: item.status == ProductStatus::Archived,
    });
    format!("{title}\n\n{}", chart.draw(&bars.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_without_sales_is_said_to_be_empty() {
        let (from, to) = (Timestamp::from_unix(0), Timestamp::from_unix(86_400));
        let ranking = BestSellers { from, to, items: Vec::new() };
        assert_eq!(
            drawing(&ranking, Currency::KRW, 1, 80, false),
            "Best sellers of the day to 1970-01-02T00:00:00Z\n\nNothing was sold after 1970-01-01T00:00:00Z."
        );
    }
}
