//! Progress bars: on stderr, and only when it is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const COUNTED: &str =
    "{msg:.bold} {bar:32.cyan/dim} {human_pos} of {human_len}, {per_sec}, {eta} left";
const WEIGHED: &str = "{msg:.bold} {bar:32.cyan/dim} {bytes} of {total_bytes}, {eta} left";
const ENDLESS: &str = "{msg:.bold} {spinner:.cyan} {bytes}, {bytes_per_sec}";

/// Of things that are counted.
pub(crate) fn counted(what: &str, total: u64) -> ProgressBar {
    drawn(what, Some(total), COUNTED)
}

/// Of bytes that are read; from a pipe nobody knows how many there will be.
pub(crate) fn bytes(what: &str, total: Option<u64>) -> ProgressBar {
    drawn(what, total, if total.is_some() { WEIGHED } else { ENDLESS })
}

fn drawn(what: &str, total: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template(template).map(|style| style.progress_chars("█▉▊▋▌▍▎▏ "));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
}
