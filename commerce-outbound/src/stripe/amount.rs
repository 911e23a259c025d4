//! Conversion to Stripe's minor units, which differ from ISO 4217 for some currencies.

use commerce_core::{Currency, Money};

/// Returns the amount in Stripe's units, or the reason why it has none.
pub(super) fn to_stripe(amount: Money, currency: Currency) -> Result<i64, &'static str> {
    let inexact = "the gateway cannot take so small a part of this currency";
    let digits = digits(currency);
    let units = scale(amount.minor(), currency.digits(), digits).ok_or(inexact)?;
    if units < 1 {
        return Err("the amount is zero");
    }
    // Stripe requires amounts with three digits to end with a zero: banks do not accept thousandths.
    if digits == 3 && units.checked_rem(10) != Some(0) {
        return Err(inexact);
    }
    Ok(units)
}

/// Returns the amount for Stripe's units, or `None` when it is not exact.
pub(super) fn from_stripe(units: i64, currency: Currency) -> Option<Money> {
    scale(units, digits(currency), currency.digits()).map(Money::from_minor)
}

/// Returns the number of Stripe's decimal digits: two, except for the currencies that it lists with none or three.
/// ISK and UGX, which have none by ISO 4217, have hundredths here, and MGA, which has two, has none.
fn digits(currency: Currency) -> usize {
    match currency.code() {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// Converts between numbers of decimal digits; `None` when the result is not exact.
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
    fn amounts_convert_to_stripe_units_and_back(
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
    fn inexact_amount_is_not_rounded() {
        assert_eq!(from_stripe(50_001, Currency::from_code("ISK").unwrap()), None);
    }
}
