//! Commands under resource limits: a missing resource is an error sentence and exit status 1, never a panic. A
//! command works without resources that it does not use.

use crate::command::{CommandOutput, TestDir, decode};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Commands that run on one thread.
const ONE_SHOT: [&str; 14] = [
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

/// Commands that start threads, or handle signals.
const THREADED: [&str; 4] = [
    "import products products.csv",
    "events relay --to file:events --once",
    "bench --orders 10",
    "serve --listen 127.0.0.1:0",
];

/// A variable that makes every new thread fail: its stack would exceed the address space.
const NO_THREADS: (&str, &str) = ("RUST_MIN_STACK", "70368744177664");

impl TestDir {
    fn with_products_file() -> Self {
        let dir = Self::stocked();
        fs::write(dir.0.path().join("products.csv"), "id,name,price,stock\n9,Jam,1,1\n").unwrap();
        dir
    }

    /// Runs a command line in a shell, after a setup command and with a redirection.
    fn run_in_shell(&self, setup: &str, line: &str, redirection: &str) -> CommandOutput {
        let script = format!("{setup} exec \"$0\" {line} {redirection}");
        let mut shell = Command::new("bash");
        shell.current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        decode(&shell.args(["-c", &script, env!("CARGO_BIN_EXE_commerce")]).output().unwrap())
    }
}

/// Asserts that a command succeeded, was refused by a rule, or failed with a sentence and status 1.
fn assert_graceful(output: &CommandOutput, what: &str) {
    assert!([0, 1, 3].contains(&output.status), "{what}: {} {}", output.status, output.err);
    assert!(!output.err.contains("panicked"), "{what}: {}", output.err);
    assert!(!output.err.contains("internal error"), "{what}: {}", output.err);
    if output.status == 1 {
        let last = output.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("commerce: "), "{what}: {}", output.err);
    }
}

#[test]
fn one_shot_commands_start_no_thread() {
    let dir = TestDir::stocked();
    for line in ONE_SHOT {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = dir.command(&arguments);
        let output = decode(&command.env(NO_THREADS.0, NO_THREADS.1).output().unwrap());
        assert_eq!(output.status, 0, "{line}: {}", output.err);
    }
}

#[test]
fn thread_limit_is_reported() {
    let dir = TestDir::with_products_file();
    for line in THREADED {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = dir.command(&arguments);
        let output = decode(&command.env(NO_THREADS.0, NO_THREADS.1).output().unwrap());
        assert_eq!(output.status, 1, "{line}: {}", output.err);
        assert_graceful(&output, line);
        assert!(output.err.contains("ulimit -u"), "{line}: {}", output.err);
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

/// The limit on processes does not apply to root, so the test runs as another user if root starts it.
#[test]
fn process_limit_stops_servers_but_no_one_shot_command() {
    let dir = TestDir::empty();
    fs::set_permissions(dir.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.0.path().join("commerce");
    fs::copy(env!("CARGO_BIN_EXE_commerce"), &binary).unwrap();
    let run = |limit: &str, line: &str| {
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid", "64321", "--regid", "64321", "--clear-groups", "--"]);
        }
        let script = format!("ulimit -u {limit}; exec ./commerce {line}");
        let command = command.args(["bash", "-c", &script]).current_dir(dir.0.path());
        decode(&command.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap())
    };
    for line in ["init", "customer add Kim", "charge 1 5", "balance 1", "audit"] {
        let output = run("1", line);
        assert_eq!(output.status, 0, "{line}: {}", output.err);
    }
    // One thread waits for Ctrl-C, the next one commits the submitted rows of an import.
    fs::write(dir.0.path().join("products.csv"), "id,name,price,stock\n9,Jam,1,1\n").unwrap();
    for threads in ["1", "2"] {
        let output = run(threads, "import products products.csv");
        assert_eq!((output.status, output.err.contains("ulimit -u")), (1, true), "{}", output.err);
        assert_graceful(&output, threads);
    }
    // Thread limits that are too small for a server, at each step of its start.
    for threads in [1, 2, 3, 4, 8, 20, 30, 36] {
        let server = if threads % 4 == 0 { "hyper" } else { "tiny" };
        let serve = format!("serve --listen 127.0.0.1:0 --server {server}");
        let output = run(&threads.to_string(), &serve);
        assert_eq!(output.status, 1, "{threads}: {}", output.err);
        assert_graceful(&output, &threads.to_string());
        assert!(!output.err.contains("serving"), "{threads}: {}", output.err);
    }
}

#[test]
fn descriptor_limit_is_reported() {
    let dir = TestDir::with_products_file();
    for limit in 4..=16 {
        let first = format!("ulimit -n {limit};");
        for line in ONE_SHOT.iter().chain(&THREADED[..3]).chain(&["backup copy.db"]) {
            assert_graceful(&dir.run_in_shell(&first, line, ""), &format!("{limit}: {line}"));
        }
        let _ = fs::remove_file(dir.0.path().join("copy.db"));
    }
    for limit in [4, 8, 12, 14, 16, 20, 24, 28, 32] {
        let first = format!("ulimit -n {limit};");
        let server = if limit % 8 == 0 { "hyper" } else { "tiny" };
        let serve = format!("serve --listen 127.0.0.1:0 --server {server}");
        let output = dir.run_in_shell(&first, &serve, "");
        assert_eq!(output.status, 1, "{limit}: {}", output.err);
        assert_graceful(&output, &format!("{limit}"));
    }
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn memory_limit_is_reported() {
    let dir = TestDir::with_products_file();
    let first = "ulimit -v 400000;";
    for line in ONE_SHOT {
        let output = dir.run_in_shell(first, line, "");
        assert_eq!(output.status, 0, "{line}: {}", output.err);
    }
    for limit in [100_000, 200_000, 400_000] {
        let output =
            dir.run_in_shell(&format!("ulimit -v {limit};"), "serve --listen 127.0.0.1:0", "");
        assert_eq!(output.status, 1, "{limit}: {}", output.err);
        assert_graceful(&output, &format!("{limit}"));
        assert!(output.err.contains("ulimit -v"), "{}", output.err);
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
fn closed_stream_is_like_an_empty_one(#[case] redirection: &str) {
    let dir = TestDir::with_products_file();
    for line in ONE_SHOT.iter().chain(&["import products products.csv"]) {
        let output = dir.run_in_shell("", line, redirection);
        assert_eq!(output.status, 0, "{line} {redirection}: {}", output.err);
    }
    assert_eq!(dir.run_in_shell("", "nonsense", redirection).status, 2);
    // An empty input is not a valid import.
    assert_eq!(dir.run_in_shell("", "import products -", "<&-").status, 2);
    assert_eq!(dir.json("audit")["ok"], true);
}

/// An event written to a closed or discarded stdout must not count as delivered.
#[rstest]
#[case(">&-")]
#[case(">/dev/null")]
fn events_relay_refuses_a_discarded_stdout(#[case] redirection: &str) {
    let dir = TestDir::stocked();
    dir.json("order 1 1");
    let output = dir.run_in_shell("", "events relay --to - --once", redirection);
    assert_eq!((output.status, output.err.contains("would be lost")), (1, true), "{}", output.err);
    assert_eq!(dir.json("events relay --to file:events --once")["delivered"], 1);
}

#[test]
fn unwritable_result_is_an_error() {
    let dir = TestDir::stocked();
    for line in ["balance 1", "order 1 1", "audit", "--help"] {
        let output = dir.run_in_shell("", line, ">/dev/full");
        assert_eq!(output.status, 1, "{line}: {}", output.err);
        assert_graceful(&output, line);
        // With stderr full as well, only the exit status is left.
        assert_eq!(dir.run_in_shell("", line, ">/dev/full 2>/dev/full").status, 1, "{line}");
    }
}

#[test]
fn clock_before_1970_is_reported() {
    let dir = TestDir::with_products_file();
    let faketime = |line: &str| {
        let mut command = Command::new("faketime");
        command.current_dir(dir.0.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-f", "1960-01-01 00:00:00", env!("CARGO_BIN_EXE_commerce")]);
        decode(&command.args(line.split(' ')).output().unwrap())
    };
    for line in ONE_SHOT.iter().chain(&THREADED) {
        let output = faketime(line);
        assert_eq!(
            (output.status, output.err.contains("clock")),
            (1, true),
            "{line}: {}",
            output.err
        );
        assert_graceful(&output, line);
    }
    assert_eq!(faketime("man").status, 0);
    assert_eq!(dir.json("audit")["ok"], true);
}

/// `getrandom` fails from its n-th call on. The standard library panics if it fails for a hash map: that is a
/// sentence and status 1 as well.
#[test]
fn missing_random_numbers_are_reported() {
    let dir = TestDir::stocked();
    let trace = |fault: &str, line: &str| {
        let mut command = Command::new("strace");
        command.current_dir(dir.0.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getrandom", "-e"]);
        command.args([fault, env!("CARGO_BIN_EXE_commerce")]);
        decode(&command.args(line.split(' ')).output().unwrap())
    };
    for line in ["charge 1 5", "customer login 1 kim", "customer add Lee", "balance 1"] {
        // Without the system call the device is used.
        let output = trace("inject=getrandom:error=ENOSYS", line);
        assert_eq!(output.status, 0, "{line}: {}", output.err);
        for first in 1..=4 {
            let output = trace(&format!("inject=getrandom:error=EIO:when={first}+"), line);
            assert!(
                [0, 1].contains(&output.status),
                "{line} {first}: {} {}",
                output.status,
                output.err
            );
            let is_reported = output.status == 0 || output.err.starts_with("commerce: ");
            assert!(is_reported, "{line} {first}: {}", output.err);
        }
    }
    assert_eq!(dir.json("audit")["ok"], true);
}
