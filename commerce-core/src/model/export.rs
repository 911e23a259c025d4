//! The kinds and formats of exports.

use crate::model::words::words;
use serde::{Deserialize, Serialize};

/// The kind of rows in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportKind {
    /// Products, archived ones included.
    Products,
    /// Customers with their balances.
    Customers,
    /// Orders: in CSV a row a line, as imports read them.
    Orders,
    /// Lines of orders.
    Lines,
    /// Ledger entries.
    Ledger,
    /// Changes of stock: adjustments, and units that orders took and gave back.
    Movements,
    /// Coupon campaigns.
    Coupons,
    /// Claimed coupons.
    Claims,
    /// Events of the outbox.
    Events,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180) with a header.
    #[default]
    Csv,
    /// A JSON object a line (NDJSON).
    Ndjson,
}

words! {
    ExportKind {
        Products = "products",
        Customers = "customers",
        Orders = "orders",
        Lines = "lines",
        Ledger = "ledger",
        Movements = "movements",
        Coupons = "coupons",
        Claims = "claims",
        Events = "events",
    }
    ExportFormat {
        Csv = "csv",
        Ndjson = "ndjson",
    }
}
