//! `commerce token`: tokens of programs.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, or_dash};
use crate::values::{self, KeyArg, PageArgs, StaffRole};
use commerce_core::{CreatedToken, NewToken, Refusal, RevokeToken, Timestamp, Token, TokenId};

/// Creates tokens for programs that call the HTTP API, lists and revokes them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Creates a token, and prints it. It cannot be shown again.
    Create {
        /// Name of the program.
        name: String,
        /// The program's role.
        #[arg(long)]
        role: StaffRole,
        /// Days until the token expires, 1 to 3650 (default: never).
        #[arg(long, value_name = "DAYS", value_parser = values::integer, allow_negative_numbers = true)]
        days: Option<i64>,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Lists the tokens by id, without their secrets.
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Revokes a token: requests with it are refused at once, on every server of the store.
    Revoke {
        /// The token's id.
        #[arg(value_parser = values::id::<TokenId>)]
        id: TokenId,
    },
}

impl TokenCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::Create { name, role, days, key } => {
                let new = NewToken { name, role: role.into(), days };
                let created = context
                    .call_with_key(&key, |key| context.shop.create_token(None, &new, Some(key)))?;
                print_created(context, &created, &key)
            }
            Self::List { page } => {
                let now = context.shop.now();
                context.list(&page, |page| context.shop.tokens(page), |rows| tokens(rows, now))
            }
            Self::Revoke { id } => {
                let token = context.shop.call(RevokeToken { token_id: id }).run()?;
                context.output.print(&token, |token| format!("token {} is revoked", token.id))
            }
        }
    }
}

/// Prints a new token. A repetition has no token: its text goes to stderr, so that no program takes it for one.
fn print_created(
    context: &CommandContext,
    created: &CreatedToken,
    key: &KeyArg,
) -> Result<(), CliError> {
    let id = created.row.id;
    match &created.token {
        Some(token) => {
            context.output.print(created, |_| token.clone())?;
            context.output.note(format_args!("(token {id}: it cannot be shown again)"));
            Ok(())
        }
        None if context.output.is_json() => context.output.print(created, |_| String::new()),
        None => {
            let refusal = Refusal::IdempotencyKeyReused { key: key.or_generate()? };
            Err(CliError::from(refusal).with_message(format!(
                "token {id} cannot be shown again: revoke it and create another with a new key"
            )))
        }
    }
}

fn tokens(tokens: &[Token], now: Timestamp) -> String {
    TextTable::new([">id", "name", "role", "status", "expires", "last used"], "no tokens")
        .rows(tokens, |token| {
            let status = match token.revoked_at {
                Some(_) => "revoked",
                None if token.is_valid_at(now) => "valid",
                None => "expired",
            };
            [
                token.id.to_string(),
                token.name.clone(),
                token.role.to_string(),
                status.to_owned(),
                or_dash(token.expires_at),
                or_dash(token.last_used_on()),
            ]
        })
        .text()
}
