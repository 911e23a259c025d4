//! Validation of request values. All errors of a request are reported together.

use crate::error::{Invalid, Refusal};
use crate::limits::{MAX_AMOUNT, MAX_BALANCE, MAX_TEXT};
use crate::money::Money;
use crate::text::{is_control, is_visible};
use std::ops::RangeInclusive;

/// Collects the validation errors of a request.
#[derive(Default)]
pub(super) struct Checks(Vec<Invalid>);

impl Checks {
    pub(super) fn that(
        &mut self,
        condition: bool,
        pointer: &str,
        detail: impl FnOnce() -> String,
    ) -> &mut Self {
        if !condition {
            self.0.push(Invalid { detail: detail(), pointer: pointer.to_owned() });
        }
        self
    }

    pub(super) fn integer(
        &mut self,
        value: i64,
        range: RangeInclusive<i64>,
        pointer: &str,
    ) -> &mut Self {
        self.that(range.contains(&value), pointer, || {
            let name = pointer.rsplit('/').next().unwrap_or(pointer);
            format!("{name} is {value} and must be from {} to {}", range.start(), range.end())
        })
    }

    pub(super) fn amount(&mut self, amount: Money, pointer: &str) -> &mut Self {
        self.integer(amount.minor(), 1..=MAX_AMOUNT.minor(), pointer)
    }

    /// Checks that a text is visible, at most [`MAX_TEXT`] long, and free of control characters and of characters
    /// that change the direction of text.
    pub(super) fn text(&mut self, text: &str, pointer: &str) -> &mut Self {
        let name = pointer.trim_start_matches('/').to_owned();
        self.that(is_visible(text), pointer, || format!("{name} must not be empty or invisible"))
            .that(text.chars().count() <= MAX_TEXT, pointer, || {
                format!("{name} must have at most {MAX_TEXT} characters")
            })
            .that(!text.chars().any(is_control), pointer, || {
                format!(
                    "{name} must not contain control characters or characters that change the direction of \
                     text: remove them"
                )
            })
    }

    pub(super) fn done(&mut self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Refusal::InvalidRequest { errors: std::mem::take(&mut self.0) })
    }
}

/// Returns an external text cut to [`MAX_TEXT`] characters, with control characters replaced by spaces: not every
/// store accepts all of them.
pub(super) fn sanitized(text: &str) -> String {
    let plain = |char: char| if is_control(char) { ' ' } else { char };
    text.chars().map(plain).take(MAX_TEXT).collect()
}

/// Returns the balance plus `amount`; refuses a sum above [`MAX_BALANCE`].
pub(super) fn checked_credit(balance: Money, amount: Money) -> Result<Money, Refusal> {
    balance
        .checked_add(amount)
        .filter(|sum| *sum <= MAX_BALANCE)
        .ok_or(Refusal::BalanceLimit { balance, limit: MAX_BALANCE })
}

/// Returns the balance minus `amount`; refuses an amount above the balance.
pub(super) fn checked_debit(balance: Money, amount: Money) -> Result<Money, Refusal> {
    balance
        .checked_sub(amount)
        .filter(|rest| *rest >= Money::ZERO)
        .ok_or(Refusal::InsufficientBalance { balance, required: amount })
}
