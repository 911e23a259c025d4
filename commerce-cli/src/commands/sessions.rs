//! `commerce sessions`: the open sessions of the HTTP API.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::TextTable;
use crate::values::{self, PageArgs};
use commerce_core::{CustomerId, SessionInfo};
use serde::Serialize;

/// Lists and ends the sessions of the HTTP API.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum SessionsCommand {
    /// Lists the open sessions of a customer, or of all, by id.
    List {
        /// The customer's id (default: all customers).
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: Option<CustomerId>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Ends a session. Its token is refused from then on.
    Revoke {
        /// The session's id, as `sessions list` shows it.
        id: String,
    },
}

/// The result of ending a session.
#[derive(Serialize)]
struct Revoked {
    id: String,
    customer_id: CustomerId,
}

impl SessionsCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        match self {
            Self::List { customer, page } => {
                context.list(&page, |page| context.shop.sessions(customer, None, page), sessions)
            }
            Self::Revoke { id } => {
                let customer_id = context.shop.revoke_session(None, None, &id)?.id;
                context.output.print(&Revoked { id, customer_id }, |revoked| {
                    format!("session {} of customer {} is ended", revoked.id, revoked.customer_id)
                })
            }
        }
    }
}

fn sessions(sessions: &[SessionInfo]) -> String {
    TextTable::new(["id", ">customer", "opened", "ends"], "no open sessions")
        .rows(sessions, |session| {
            [
                session.id.clone(),
                session.customer_id.to_string(),
                session.created_at.to_string(),
                session.expires_at.to_string(),
            ]
        })
        .text()
}
