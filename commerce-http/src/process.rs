//! Process metrics, under the standard names of Prometheus clients.

use rustix::process::{Resource, getrlimit};
use std::fs;

/// A gauge or counter of the process.
pub(crate) struct ProcessMetric {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    /// In microseconds if `is_time`.
    pub(crate) value: u64,
    pub(crate) is_time: bool,
}

/// Reads all process metrics; a value that the system does not report is 0.
pub(crate) fn metrics() -> [ProcessMetric; 6] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program name in parentheses, which may contain spaces and parentheses.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field =
        |index: usize| fields.get(index).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    let hertz = rustix::param::clock_ticks_per_second();
    let micros = |ticks: u64| ticks.saturating_mul(1_000_000).checked_div(hertz).unwrap_or(0);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    // The directory listing itself holds one descriptor.
    let open = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
    let metric =
        |name, kind, help, value| ProcessMetric { name, kind, help, value, is_time: false };
    let time = |name, kind, help, value| ProcessMetric {
        is_time: true,
        ..metric(name, kind, help, value)
    };
    // Field numbers are those of proc(5) minus three.
    [
        time(
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time.",
            micros(field(11).saturating_add(field(12))),
        ),
        time(
            "process_start_time_seconds",
            "gauge",
            "Start time of the process in seconds since the Unix epoch.",
            boot_time().saturating_mul(1_000_000).saturating_add(micros(field(19))),
        ),
        metric("process_virtual_memory_bytes", "gauge", "Virtual memory size.", field(20)),
        metric(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size.",
            field(21).saturating_mul(page),
        ),
        metric(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            u64::try_from(open).unwrap_or(0),
        ),
        metric(
            "process_max_fds",
            "gauge",
            "Maximum number of open file descriptors.",
            getrlimit(Resource::Nofile).current.unwrap_or(0),
        ),
    ]
}

/// The boot time of the system in seconds since the Unix epoch.
fn boot_time() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
