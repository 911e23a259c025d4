//! Amounts as Stripe counts them, which for some currencies is not as ISO 4217 does.

use commerce_core::{Currency, Money};

/// The amount in Stripe's units, or why it has none.
pub(super) fn to_stripe(amount: Money, currency: Currency) -> Result<i64, &'static str> {
    let inexact = "the gateway cannot take so small a part of this currency";
    let digits = digits(currency);
    let units = scale(amount.minor(), currency.digits(), digits).ok_or(inexact)?;
    if units < 1 {
        return Err("there is nothing to be collected");
    }
    // Stripe has amounts of three digits end with a zero: banks do not take thousandths.
    if digits == 3 && units.checked_rem(10) != Some(0) {
        return Err(inexact);
    }
    Ok(units)
}

/// The amount that Stripe means, or `None` when it is no amount here.
pub(super) fn from_stripe(units: i64, currency: Currency) -> Option<Money> {
    scale(units, digits(currency), currency.digits()).map(Money::from_minor)
}

/// How many digits Stripe puts behind the point: two, but for those it lists as having none or three. So
/// ISK and UGX, which have none by ISO 4217, are hundredths here, and MGA, which has two, is whole.
fn digits(currency: Currency) -> usize {
    match currency.code() {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// The same amount with another number of digits behind the point; `None` when it is not exact.
fn scale(units: i64, from: usize, to: usize) -> Option<i64> {
    let factor = |digits: usize| 10_i64.checked_pow(u32::try_from(digits).ok()?);
    if to >= from {
        return units.checked_mul(factor(to.checked_sub(from)?)?);
    }
    let factor = factor(from.checked_sub(to)?)?;
    (units.checked_rem(factor)? == 0).then(|| units.checked_div(factor))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("KRW", 1_000, Some(1_000))]
    #[case("USD", 1_999, Some(1_999))]
    #[case("USD", 0, None)]
    #[case("ISK", 500, Some(50_000))]
    #[case("UGX", 500, Some(50_000))]
    #[case("HUF", 1_050, Some(1_050))]
    #[case("TWD", 80_045, Some(80_045))]
    #[case("MGA", 500, Some(5))]
    #[case("MGA", 550, None)]
    #[case("KWD", 5_120, Some(5_120))]
    #[case("KWD", 5_125, None)]
    #[case("ISK", i64::MAX, None)]
    fn amounts_are_what_stripe_counts(
        #[case] code: &str,
        #[case] minor: i64,
        #[case] units: Option<i64>,
    ) {
        let currency = Currency::from_code(code).unwrap();
        let amount = Money::from_minor(minor);
        assert_eq!(to_stripe(amount, currency).ok(), units);
        if let Some(units) = units {
            assert_eq!(from_stripe(units, currency), Some(amount));
        }
    }

    #[test]
    fn an_amount_that_is_none_here_is_not_rounded() {
        assert_eq!(from_stripe(50_001, Currency::from_code("ISK").unwrap()), None);
    }
}
