//! A bar chart with a resolution of an eighth of a column, fitted to the width of the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Block characters by filled eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The note behind an archived product.
const ARCHIVED_NOTE: &str = "  no longer sold";

/// The minimum width of names and bars in columns.
const MIN_NAME: usize = 8;
const MIN_BAR: usize = 4;

/// The drawing options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart {
    /// The available width in columns.
    pub(crate) width: usize,
    pub(crate) colours: bool,
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Bar<'a> {
    pub(crate) rank: usize,
    pub(crate) name: &'a str,
    /// The text between the name and the bar.
    pub(crate) detail: String,
    /// The length of the bar.
    pub(crate) value: u64,
    /// The value as text, after the bar.
    pub(crate) label: String,
    pub(crate) archived: bool,
}

/// The width of each part of a line in columns.
struct Layout {
    rank: usize,
    name: usize,
    detail: usize,
    bar: usize,
}

impl Chart {
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Draws one line for each bar. The longest bar fills the available width.
    pub(crate) fn draw(self, bars: &[Bar<'_>]) -> String {
        let columns = self.columns(bars);
        let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
        let lines: Vec<String> = bars.iter().map(|bar| self.line(bar, &columns, most)).collect();
        lines.join("\n")
    }

    fn columns(self, bars: &[Bar<'_>]) -> Layout {
        let widest = |width: &dyn Fn(&Bar<'_>) -> usize| bars.iter().map(width).max().unwrap_or(0);
        let rank = widest(&|bar| bar.rank.to_string().len()).max(2);
        let detail = widest(&|bar| bar.detail.width());
        let label = widest(&|bar| {
            let note = if bar.archived { ARCHIVED_NOTE.len() } else { 0 };
            bar.label.len().saturating_add(note)
        });
        // Two columns between rank, name, detail and bar each, and one before the label.
        let taken = [rank, detail, label, 7].iter().fold(0_usize, |sum, w| sum.saturating_add(*w));
        let room = self.width.saturating_sub(taken);
        let two_fifths = self.width.saturating_mul(2).div_euclid(5);
        let most = two_fifths.min(room.saturating_sub(MIN_BAR)).max(MIN_NAME);
        let name = widest(&|bar| bar.name.width()).min(most);
        Layout { rank, name, detail, bar: room.saturating_sub(name).max(MIN_BAR) }
    }

    fn line(self, bar: &Bar<'_>, columns: &Layout, most: u64) -> String {
        let name = fitted(bar.name, columns.name);
        let rank = self.paint("2", &format!("{:>1$}", bar.rank, columns.rank));
        let detail = self.paint("2", &padded(&bar.detail, columns.detail));
        let colour = if bar.archived { "2" } else { "36" };
        let drawn = self.paint(colour, &filled(bar.value, most, columns.bar));
        let label = self.bold(&bar.label);
        let note = if bar.archived { self.paint("2", ARCHIVED_NOTE) } else { String::new() };
        format!("{rank}  {name}  {detail}  {drawn} {label}{note}")
    }

    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Block characters by filled eighths of a line's height.
const COLUMNS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws values as upright columns, each `width` wide, on `height` lines. A value above 0 is never empty.
pub(crate) fn columns(values: &[u64], most: u64, width: usize, height: usize) -> Vec<String> {
    let eighths = |value: u64| {
        let whole = u128::try_from(height).unwrap_or(0).saturating_mul(8);
        let part = whole.saturating_mul(value.into()).checked_div(most.into()).unwrap_or(0);
        usize::try_from(part.max(u128::from(value > 0))).unwrap_or(0)
    };
    let line = |below: usize| {
        let column = |value: &u64| {
            let filled = eighths(*value).saturating_sub(below.saturating_mul(8)).min(8);
            let block = COLUMNS.get(filled).copied().unwrap_or(' ');
            // A gap keeps columns apart if there is room for one.
            let gap = usize::from(width > 1);
            let block = String::from(block).repeat(width.saturating_sub(gap));
            format!("{block}{}", " ".repeat(gap))
        };
        values.iter().map(column).collect::<String>().trim_end().to_owned()
    };
    (0..height).rev().map(line).collect()
}

/// The text aligned to the right of `columns`.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let gap = columns.saturating_sub(text.width());
    format!("{}{text}", " ".repeat(gap))
}

/// A bar for `part` of `whole` in `room` columns; never empty if `part` is above 0.
pub(crate) fn filled(part: u64, whole: u64, room: usize) -> String {
    let eighths = u128::try_from(room).unwrap_or(0).saturating_mul(8).saturating_mul(part.into());
    let eighths = eighths.checked_div(whole.into()).unwrap_or(0).max(u128::from(part > 0));
    let eighths = usize::try_from(eighths).unwrap_or(0);
    let rest = EIGHTHS.get(eighths.rem_euclid(8)).copied().unwrap_or_default();
    format!("{}{rest}", "█".repeat(eighths.div_euclid(8)))
}

/// The text truncated or padded to exactly `columns`.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    let room = if text.width() > columns { columns.saturating_sub(1) } else { columns };
    let mut taken = 0_usize;
    let fits = |character: &char| {
        taken = taken.saturating_add(character.width().unwrap_or(0));
        taken <= room
    };
    let mut fitted: String = text.chars().take_while(fits).collect();
    if fitted.len() < text.len() {
        fitted.push('…');
    }
    let gap = columns.saturating_sub(fitted.width());
    fitted.push_str(&" ".repeat(gap));
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(10, 10, 4, "████")]
    #[case(5, 10, 4, "██")]
    #[case(1, 3, 4, "█▎")]
    #[case(1, 1_000_000, 4, "▏")] // never empty above 0
    #[case(0, 10, 4, "")]
    #[case(0, 0, 4, "")]
    #[case(u64::MAX, u64::MAX, 2, "██")]
    fn bar_length_is_proportional(
        #[case] part: u64,
        #[case] whole: u64,
        #[case] room: usize,
        #[case] bar: &str,
    ) {
        assert_eq!(filled(part, whole, room), bar);
    }

    #[test]
    fn column_height_is_proportional() {
        assert_eq!(columns(&[0, 8, 16, 1], 16, 1, 2), ["  █", " ██▁"]);
        assert_eq!(columns(&[1_000, 1], 1_000, 2, 1), ["█ ▁"]);
        assert_eq!(columns(&[0, 0], 0, 3, 1), [""]);
    }

    #[rstest]
    #[case("Tea", 5, "Tea  ")]
    #[case("Green tea", 5, "Gree…")]
    #[case("Green tea", 9, "Green tea")]
    #[case("녹차라떼", 5, "녹차…")] // each of these takes two columns
    #[case("녹차라떼", 6, "녹차… ")]
    fn names_are_fitted_by_display_width(
        #[case] name: &str,
        #[case] columns: usize,
        #[case] fit: &str,
    ) {
        assert_eq!(fitted(name, columns), fit);
    }

    #[rstest]
    #[case(40)]
    #[case(80)]
    #[case(200)]
    fn lines_fit_the_terminal_width(#[case] width: usize) {
        let bar = |rank, name, value: u64, archived| Bar {
            rank,
            name,
            detail: "12.50 USD".into(),
            value,
            label: value.to_string(),
            archived,
        };
        let long = "A name that goes on and on, and then some more of it";
        let bars = [bar(1, long, 900, false), bar(2, "Tea", 1, width > 40)];
        for line in (Chart { width, colours: false }).draw(&bars).lines() {
            assert!(line.width() <= width, "{line}");
        }
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let (detail, label) = ("5 KRW".into(), "3".into());
        let bars = [Bar { rank: 1, name: "Tea", detail, value: 3, label, archived: true }];
        let plain = Chart { width: 80, colours: false }.draw(&bars);
        let mut painted = Chart { width: 80, colours: true }.draw(&bars);
        for code in ["0", "1", "2"] {
            painted = painted.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(painted, plain);
    }
}
