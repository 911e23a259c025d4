//! What the system knows of this process, under the names that Prometheus clients give it everywhere.

use rustix::process::{Resource, getrlimit};
use std::fs;

/// One gauge or counter of the process.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    /// In units, or in microseconds of a name that ends with seconds.
    pub(crate) value: u64,
    pub(crate) is_time: bool,
}

/// All of them; a value that the system does not tell is 0.
pub(crate) fn figures() -> [Figure; 6] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program comes second, in brackets, and may hold anything.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field =
        |index: usize| fields.get(index).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    let hertz = rustix::param::clock_ticks_per_second();
    let micros = |ticks: u64| ticks.saturating_mul(1_000_000).checked_div(hertz).unwrap_or(0);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    // The listing itself has one open.
    let open = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
    let figure = |name, kind, help, value| Figure { name, kind, help, value, is_time: false };
    let time =
        |name, kind, help, value| Figure { is_time: true, ..figure(name, kind, help, value) };
    // The numbers of the fields are those of proc(5) less three.
    [
        time(
            "process_cpu_seconds_total",
            "counter",
            "Processor time used.",
            micros(field(11).saturating_add(field(12))),
        ),
        time(
            "process_start_time_seconds",
            "gauge",
            "When the process began, in seconds since 1970.",
            booted().saturating_mul(1_000_000).saturating_add(micros(field(19))),
        ),
        figure("process_virtual_memory_bytes", "gauge", "Address space.", field(20)),
        figure(
            "process_resident_memory_bytes",
            "gauge",
            "Memory in use.",
            field(21).saturating_mul(page),
        ),
        figure(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            u64::try_from(open).unwrap_or(0),
        ),
        figure(
            "process_max_fds",
            "gauge",
            "The most file descriptors that may be open.",
            getrlimit(Resource::Nofile).current.unwrap_or(0),
        ),
    ]
}

/// When the system began, in seconds since 1970.
fn booted() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
