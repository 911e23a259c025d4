//! Commands under limits: what cannot be had is a sentence and exit status 1, and never a panic. What a
//! command does not use, it does not need.

use crate::command::{Place, Said, said};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Commands that read or write one thing, on one thread.
const ALONE: [&str; 14] = [
    "balance 1",
    "ledger 1",
    "product list",
    "top",
    "orders list 1",
    "events list",
    "audit",
    "customer add Lee",
    "charge 1 5",
    "order 1 2",
    "cart set 1 2 3",
    "cart show 1",
    "customer login 1 kim",
    "init --currency USD",
];

/// Commands that do several things at once, or are to be stopped in order.
const TOGETHER: [&str; 4] = [
    "import products products.csv",
    "events relay --to file:events --once",
    "bench --orders 10",
    "serve --listen 127.0.0.1:0",
];

/// The threads of a process whose stacks would be larger than the address space.
const NO_THREADS: (&str, &str) = ("RUST_MIN_STACK", "70368744177664");

impl Place {
    fn with_products_file() -> Self {
        let place = Self::stocked();
        fs::write(place.0.path().join("products.csv"), "id,name,price,stock\n9,Jam,1,1\n").unwrap();
        place
    }

    /// Runs a line after what a shell does first, with that redirection.
    fn limited(&self, first: &str, line: &str, redirection: &str) -> Said {
        let script = format!("{first} exec \"$0\" {line} {redirection}");
        let mut shell = Command::new("bash");
        shell.current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        said(&shell.args(["-c", &script, env!("CARGO_BIN_EXE_commerce")]).output().unwrap())
    }
}

/// Fails unless a command ended as it may: well, refused by a rule, or with a sentence and status 1.
fn assert_tidy(said: &Said, what: &str) {
    assert!([0, 1, 3].contains(&said.status), "{what}: {} {}", said.status, said.err);
    assert!(!said.err.contains("panicked"), "{what}: {}", said.err);
    assert!(!said.err.contains("defect"), "{what}: {}", said.err);
    if said.status == 1 {
        let last = said.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("commerce: "), "{what}: {}", said.err);
    }
}

#[test]
fn one_shot_commands_start_no_thread() {
    let place = Place::stocked();
    for line in ALONE {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = place.command(&arguments);
        let said = said(&command.env(NO_THREADS.0, NO_THREADS.1).output().unwrap());
        assert_eq!(said.status, 0, "{line}: {}", said.err);
    }
}

#[test]
fn a_thread_that_cannot_be_had_is_a_sentence() {
    let place = Place::with_products_file();
    for line in TOGETHER {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = place.command(&arguments);
        let said = said(&command.env(NO_THREADS.0, NO_THREADS.1).output().unwrap());
        assert_eq!(said.status, 1, "{line}: {}", said.err);
        assert_tidy(&said, line);
        assert!(said.err.contains("ulimit -u"), "{line}: {}", said.err);
    }
    assert_eq!(place.json("audit")["ok"], true);
}

/// The limit on processes does not hold for root, so root's test runs as another user.
#[test]
fn the_limit_on_processes_stops_servers_and_no_one_shot_command() {
    let place = Place::empty();
    fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = place.0.path().join("commerce");
    fs::copy(env!("CARGO_BIN_EXE_commerce"), &binary).unwrap();
    let run = |limit: &str, line: &str| {
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid", "64321", "--regid", "64321", "--clear-groups", "--"]);
        }
        let script = format!("ulimit -u {limit}; exec ./commerce {line}");
        let command = command.args(["bash", "-c", &script]).current_dir(place.0.path());
        said(&command.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap())
    };
    for line in ["init", "customer add Kim", "charge 1 5", "balance 1", "audit"] {
        let said = run("1", line);
        assert_eq!(said.status, 0, "{line}: {}", said.err);
    }
    // One thread watches for Ctrl-C, the next one writes what an import hands over.
    fs::write(place.0.path().join("products.csv"), "id,name,price,stock\n9,Jam,1,1\n").unwrap();
    for threads in ["1", "2"] {
        let said = run(threads, "import products products.csv");
        assert_eq!((said.status, said.err.contains("ulimit -u")), (1, true), "{}", said.err);
        assert_tidy(&said, threads);
    }
    // Every number of threads that is too small for a server, at each step of its start.
    for threads in [1, 2, 3, 4, 8, 20, 40, 50, 52, 54, 56] {
        let said = run(&threads.to_string(), "serve --listen 127.0.0.1:0");
        assert_eq!(said.status, 1, "{threads}: {}", said.err);
        assert_tidy(&said, &threads.to_string());
        assert!(!said.err.contains("serving"), "{threads}: {}", said.err);
    }
}

#[test]
fn descriptors_that_cannot_be_had_are_a_sentence() {
    let place = Place::with_products_file();
    for limit in 4..=16 {
        let first = format!("ulimit -n {limit};");
        for line in ALONE.iter().chain(&TOGETHER[..3]).chain(&["backup copy.db"]) {
            assert_tidy(&place.limited(&first, line, ""), &format!("{limit}: {line}"));
        }
        let _ = fs::remove_file(place.0.path().join("copy.db"));
    }
    for limit in [4, 8, 12, 14, 16, 20, 24, 28, 32] {
        let first = format!("ulimit -n {limit};");
        let said = place.limited(&first, "serve --listen 127.0.0.1:0", "");
        assert_eq!(said.status, 1, "{limit}: {}", said.err);
        assert_tidy(&said, &format!("{limit}"));
    }
    assert_eq!(place.json("audit")["ok"], true);
}

#[test]
fn a_limit_on_memory_is_no_end_without_a_word() {
    let place = Place::with_products_file();
    let first = "ulimit -v 400000;";
    for line in ALONE {
        let said = place.limited(first, line, "");
        assert_eq!(said.status, 0, "{line}: {}", said.err);
    }
    for limit in [100_000, 200_000, 400_000] {
        let said = place.limited(&format!("ulimit -v {limit};"), "serve --listen 127.0.0.1:0", "");
        assert_eq!(said.status, 1, "{limit}: {}", said.err);
        assert_tidy(&said, &format!("{limit}"));
        assert!(said.err.contains("ulimit -v"), "{}", said.err);
    }
}

#[rstest]
#[case("<&-")]
#[case(">&-")]
#[case("2>&-")]
#[case("<&- >&-")]
#[case("<&- 2>&-")]
#[case(">&- 2>&-")]
#[case("<&- >&- 2>&-")]
fn a_closed_stream_is_like_an_empty_one(#[case] redirection: &str) {
    let place = Place::with_products_file();
    for line in ALONE.iter().chain(&["import products products.csv"]) {
        let said = place.limited("", line, redirection);
        assert_eq!(said.status, 0, "{line} {redirection}: {}", said.err);
    }
    assert_eq!(place.limited("", "nonsense", redirection).status, 2);
    // Empty input is no import.
    assert_eq!(place.limited("", "import products -", "<&-").status, 2);
    assert_eq!(place.json("audit")["ok"], true);
}

/// An event that nobody reads must not count as delivered.
#[rstest]
#[case(">&-")]
#[case(">/dev/null")]
fn events_are_not_relayed_to_nowhere(#[case] redirection: &str) {
    let place = Place::stocked();
    place.json("order 1 1");
    let said = place.limited("", "events relay --to - --once", redirection);
    assert_eq!((said.status, said.err.contains("would be lost")), (1, true), "{}", said.err);
    assert_eq!(place.json("events relay --to file:events --once")["delivered"], 1);
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let place = Place::stocked();
    for line in ["balance 1", "order 1 1", "audit", "--help"] {
        let said = place.limited("", line, ">/dev/full");
        assert_eq!(said.status, 1, "{line}: {}", said.err);
        assert_tidy(&said, line);
        // With stderr full as well, the exit status is all there is.
        assert_eq!(place.limited("", line, ">/dev/full 2>/dev/full").status, 1, "{line}");
    }
}

#[test]
fn a_clock_before_1970_is_a_sentence() {
    let place = Place::with_products_file();
    let faketime = |line: &str| {
        let mut command = Command::new("faketime");
        command.current_dir(place.0.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-f", "1960-01-01 00:00:00", env!("CARGO_BIN_EXE_commerce")]);
        said(&command.args(line.split(' ')).output().unwrap())
    };
    for line in ALONE.iter().chain(&TOGETHER) {
        let said = faketime(line);
        assert_eq!((said.status, said.err.contains("clock")), (1, true), "{line}: {}", said.err);
        assert_tidy(&said, line);
    }
    assert_eq!(faketime("man").status, 0);
    assert_eq!(place.json("audit")["ok"], true);
}

/// Random numbers fail from the n-th time on that they are asked for. The standard library panics when it
/// gets none for its hash maps: that is a sentence and status 1 as well.
#[test]
fn random_numbers_that_cannot_be_had_are_a_sentence() {
    let place = Place::stocked();
    let trace = |fault: &str, line: &str| {
        let mut command = Command::new("strace");
        command.current_dir(place.0.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getrandom", "-e"]);
        command.args([fault, env!("CARGO_BIN_EXE_commerce")]);
        said(&command.args(line.split(' ')).output().unwrap())
    };
    for line in ["charge 1 5", "customer login 1 kim", "customer add Lee", "balance 1"] {
        // Without the call there is still the device.
        let said = trace("inject=getrandom:error=ENOSYS", line);
        assert_eq!(said.status, 0, "{line}: {}", said.err);
        for first in 1..=4 {
            let said = trace(&format!("inject=getrandom:error=EIO:when={first}+"), line);
            assert!([0, 1].contains(&said.status), "{line} {first}: {} {}", said.status, said.err);
            let is_told = said.status == 0 || said.err.starts_with("commerce: ");
            assert!(is_told, "{line} {first}: {}", said.err);
        }
    }
    assert_eq!(place.json("audit")["ok"], true);
}
