//! Tables for people: a head, a rule, and columns that line up.

use crate::output;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

const LOOK: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table being filled. Heads that begin with `>` are those of columns with numbers.
pub(crate) struct Rows {
    table: Table,
    nothing: &'static str,
}

impl Rows {
    /// A table with that head, and the sentence that stands for a table without rows.
    pub(crate) fn new<const N: usize>(head: [&str; N], nothing: &'static str) -> Self {
        let mut table = empty();
        table.set_header(head.map(|text| Cell::new(text.trim_start_matches('>'))));
        align(&mut table, head.map(|text| text.starts_with('>')));
        Self { table, nothing }
    }

    pub(crate) fn row<const N: usize>(mut self, cells: [String; N]) -> Self {
        self.table.add_row(cells.map(Cell::new_owned));
        self
    }

    /// One row for each item.
    pub(crate) fn each<T, const N: usize>(
        self,
        items: &[T],
        row: impl Fn(&T) -> [String; N],
    ) -> Self {
        items.iter().fold(self, |rows, item| rows.row(row(item)))
    }

    pub(crate) fn text(&self) -> String {
        if self.table.is_empty() { self.nothing.to_owned() } else { self.table.trim_fmt() }
    }
}

/// The facts about one thing, each with its name.
pub(crate) fn facts<const N: usize>(facts: [(&str, String); N]) -> String {
    let mut table = empty();
    for (name, value) in facts {
        table.add_row([Cell::new(name), Cell::new_owned(value)]);
    }
    align(&mut table, [false, false]);
    table.trim_fmt()
}

/// What is shown of something that may be absent.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn empty() -> Table {
    let mut table = Table::new();
    table.load_style(LOOK);
    if let Some(width) = output::terminal_width() {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

fn align<const N: usize>(table: &mut Table, right: [bool; N]) {
    for (column, right) in table.column_iter_mut().zip(right) {
        column.set_padding((0, 1)); // and one column between them
        if right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = Rows::new([">id", "name", ">price"], "nothing")
            .row(["7".into(), "녹차".into(), "450".into()])
            .row(["10".into(), "Tea".into(), "1,250".into()]);
        let lines = ["id  name  price", "────────────────", " 7  녹차    450", "10  Tea   1,250"];
        assert_eq!(rows.text().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(Rows::new(["id"], "no orders").text(), "no orders");
    }
}
