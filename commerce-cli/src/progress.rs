//! Progress bars on stderr, shown only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;

const ITEMS: &str = "{msg:.bold} {bar:32.cyan/dim} {human_pos} of {human_len}, {rate}, {eta} left";
const BYTES: &str = "{msg:.bold} {bar:32.cyan/dim} {bytes} of {total_bytes}, {eta} left";
const PAGES: &str = "{msg:.bold} {spinner:.cyan} {human_pos} pages, {rate}";
const BYTES_OF_UNKNOWN_TOTAL: &str = "{msg:.bold} {spinner:.cyan} {bytes}, {bytes_per_sec}";

/// A bar that counts items.
pub(crate) fn items(what: &str, total: u64) -> ProgressBar {
    bar(what, Some(total), ITEMS)
}

/// A bar that counts bytes read. The total of a pipe is unknown.
pub(crate) fn bytes(what: &str, total: Option<u64>) -> ProgressBar {
    bar(what, total, if total.is_some() { BYTES } else { BYTES_OF_UNKNOWN_TOTAL })
}

/// A bar that counts pages of a list. Their total is unknown.
pub(crate) fn pages(what: &str) -> ProgressBar {
    bar(what, None, PAGES)
}

fn bar(what: &str, total: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    // A rate has no decimals: they would change too fast to be read.
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        let _ = write!(text, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("█▉▊▋▌▍▎▏ ").with_key("rate", rate));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
}
