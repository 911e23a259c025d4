//! Text tables: a header, a rule, and aligned columns.

use crate::output;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A text table. A header that begins with `>` aligns its column to the right.
pub(crate) struct TextTable {
    table: Table,
    /// The sentence that replaces a table without rows.
    empty: &'static str,
}

impl TextTable {
    pub(crate) fn new<const N: usize>(headers: [&str; N], empty: &'static str) -> Self {
        let mut table = plain_table();
        table.set_header(headers.map(|text| Cell::new(text.trim_start_matches('>'))));
        align(&mut table, headers.map(|text| text.starts_with('>')));
        Self { table, empty }
    }

    pub(crate) fn row<const N: usize>(mut self, cells: [String; N]) -> Self {
        self.table.add_row(cells.map(Cell::new_owned));
        self
    }

    /// Adds a row for each item.
    pub(crate) fn rows<T, const N: usize>(
        self,
        items: &[T],
        row: impl Fn(&T) -> [String; N],
    ) -> Self {
        items.iter().fold(self, |table, item| table.row(row(item)))
    }

    pub(crate) fn text(&self) -> String {
        if self.table.is_empty() { self.empty.to_owned() } else { self.table.trim_fmt() }
    }
}

/// The properties of one object, one `name  value` line each.
pub(crate) fn properties<const N: usize>(properties: [(&str, String); N]) -> String {
    let mut table = plain_table();
    for (name, value) in properties {
        table.add_row([Cell::new(name), Cell::new_owned(value)]);
    }
    align(&mut table, [false, false]);
    table.trim_fmt()
}

/// The text of an optional value; `-` if it is absent.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    if let Some(width) = output::terminal_width() {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

fn align<const N: usize>(table: &mut Table, right: [bool; N]) {
    for (column, right) in table.column_iter_mut().zip(right) {
        column.set_padding((0, 1)); // one column between them
        if right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let table = TextTable::new([">id", "name", ">price"], "no products")
            .row(["7".into(), "녹차".into(), "450".into()])
            .row(["10".into(), "Tea".into(), "1,250".into()]);
        let lines = ["id  name  price", "────────────────", " 7  녹차    450", "10  Tea   1,250"];
        assert_eq!(table.text().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn empty_table_prints_its_sentence() {
        assert_eq!(TextTable::new(["id"], "no orders").text(), "no orders");
    }
}
