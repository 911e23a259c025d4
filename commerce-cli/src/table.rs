//! Text tables: a header, a rule, and aligned columns.

use crate::output;
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle,
    Width,
};

/// The header of a column with the price that a sale replaces.
pub(crate) const REGULAR: &str = ">regular";

/// The narrowest column of a text that is cut: the longest header of one, `reference`.
const MIN_TEXT: u16 = 9;

const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A text table. A header that begins with `>` aligns its column to the right. With `~`, texts that do not fit into the
/// terminal are cut, and the other columns keep their width.
pub(crate) struct TextTable {
    table: Table,
    /// The sentence that replaces a table without rows.
    empty: &'static str,
    is_cut: bool,
}

impl TextTable {
    pub(crate) fn new<const N: usize>(headers: [&str; N], empty: &'static str) -> Self {
        let mut table = plain_table();
        table.set_header(headers.map(|text| Cell::new(text.trim_start_matches(['>', '~']))));
        align(&mut table, headers.map(|text| text.starts_with('>')));
        let is_cut = headers.iter().any(|text| text.starts_with('~'));
        for (column, text) in table.column_iter_mut().zip(headers).filter(|_| is_cut) {
            column.set_constraint(if text.starts_with('~') {
                ColumnConstraint::LowerBoundary(Width::Fixed(MIN_TEXT))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
        table.set_truncation_indicator("…");
        Self { table, empty, is_cut }
    }

    /// Leaves a column out, counted from 0.
    pub(crate) fn hide_if(mut self, column: usize, hide: bool) -> Self {
        if let Some(column) = self.table.column_mut(column).filter(|_| hide) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        self
    }

    pub(crate) fn row<const N: usize>(mut self, cells: [String; N]) -> Self {
        let mut row = Row::from(cells.map(Cell::new_owned));
        if self.is_cut {
            row.max_height(1);
        }
        self.table.add_row(row);
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
pub(crate) fn properties<'a>(properties: impl IntoIterator<Item = (&'a str, String)>) -> String {
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
    fn wide_table_is_cut_to_the_terminal_at_its_texts() {
        let mut table = TextTable::new([">id", "~reason", "at"], "none");
        table.table.set_width(40).set_content_arrangement(ContentArrangement::Dynamic);
        let text = "broken in transit, as the customer reported on the day after";
        let table = table.row(["7".into(), text.into(), "2026-11-21T03:24:26Z".into()]);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{text}");
        assert!(lines[2].starts_with(" 7  broken") && lines[2].contains('…'), "{text}");
        assert!(lines[2].ends_with("2026-11-21T03:24:26Z"), "{text}");
    }

    #[test]
    fn hidden_column_is_left_out() {
        let table = TextTable::new([">id", "name", "status"], "none").hide_if(1, true);
        let table = table.row(["7".into(), "Tea".into(), "active".into()]).hide_if(2, false);
        assert_eq!(table.text(), "id  status\n───────────\n 7  active");
    }

    #[test]
    fn empty_table_prints_its_sentence() {
        assert_eq!(TextTable::new(["id"], "no orders").text(), "no orders");
    }
}
