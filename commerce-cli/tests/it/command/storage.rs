//! Stores on full, read-only or limited disks, and files of another user.

use super::{CommandOutput, TestDir, decode};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

/// Runs a shell script with `$commerce` in its own mount namespace, where it may mount.
fn run_in_namespace(dir: &TestDir, script: &str) -> CommandOutput {
    let is_root = dir.0.path().metadata().unwrap().uid() == 0;
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"][..] });
    command.args(["sh", "-ec", script]).env("commerce", env!("CARGO_BIN_EXE_commerce"));
    decode(&command.current_dir(dir.0.path()).output().unwrap())
}

const READ_ONLY: &str = "mkdir mnt && mount --bind . mnt && mount -o remount,ro,bind mnt && cd mnt";

#[rstest]
#[case::audit("audit", "no problems found")]
#[case::orders("orders list 1", "12.50")]
#[case::balance("balance 1", "87.50 USD")]
#[case::top("top", "Tea")]
#[case::events("events list", "order paid")]
#[case::pending("orders show 2", "pending")]
fn read_only_store_can_be_read(#[case] line: &str, #[case] expected: &str) {
    let dir = TestDir::stocked();
    assert_eq!(dir.run("order 1 1").status, 0);
    assert_eq!(dir.run("order 1 1 --unpaid").status, 0);
    fs::remove_file(dir.0.path().join("commerce.db-lock")).unwrap();
    let output = run_in_namespace(&dir, &format!("{READ_ONLY}; $commerce {line}"));
    assert_eq!((output.status, output.err.as_str()), (0, ""));
    assert!(output.out.contains(expected), "{}", output.out);
}

#[test]
fn read_only_store_can_be_backed_up_and_copied() {
    let dir = TestDir::stocked();
    let script = "$commerce backup ../copy.db; $commerce copy --from commerce.db --to ../copied.db";
    let output = run_in_namespace(&dir, &format!("{READ_ONLY}; {script}"));
    assert_eq!((output.status, output.err.as_str()), (0, ""));
    assert_eq!(dir.run("--database copy.db audit").status, 0);
    assert_eq!(dir.run("--database copied.db audit").status, 0);
}

#[test]
fn read_only_store_refuses_orders_and_names_the_next_step() {
    let dir = TestDir::stocked();
    let output = run_in_namespace(&dir, &format!("{READ_ONLY}; $commerce order 1 1"));
    assert_eq!(output.status, 1);
    assert!(output.err.contains("can only be read: copy it to a folder"), "{}", output.err);
}

/// A write-ahead log that is not checkpointed contains the newest orders: without it the store would be stale.
#[test]
fn read_only_store_with_a_log_is_refused() {
    let dir = TestDir::stocked();
    let db = rusqlite::Connection::open(dir.0.path().join("commerce.db")).unwrap();
    db.execute("UPDATE products SET name = 'Coffee'", []).unwrap();
    let output = run_in_namespace(&dir, &format!("{READ_ONLY}; $commerce product list"));
    assert_eq!(output.status, 1, "{}", output.out);
    assert!(
        output.err.contains("commerce.db-wal beside it holds changes: copy both"),
        "{}",
        output.err
    );
}

#[test]
fn full_disk_of_a_backup_is_not_reported_as_that_of_the_store() {
    let dir = TestDir::stocked();
    let script = "mkdir small; mount -t tmpfs -o size=64k none small; $commerce backup small/copy.db || \
                  { status=$?; ls small; exit $status; }";
    let output = run_in_namespace(&dir, script);
    assert_eq!((output.status, output.out.as_str()), (1, ""), "no file is left: {}", output.err);
    let message = "the copy was not made: there is no room for small/copy.db.part: free some space";
    assert!(output.err.contains(message), "{}", output.err);
}

#[test]
fn copy_of_a_missing_store_names_its_option() {
    let output = TestDir::empty().run("copy --from nope.db --to copy.db");
    assert_eq!(
        (output.status, output.err.contains("name another --from")),
        (1, true),
        "{}",
        output.err
    );
}

/// A backup must not depend on a second system call to be complete: a copy with two names does not open.
#[test]
fn backup_has_one_name() {
    let dir = TestDir::stocked();
    assert_eq!(dir.run("backup copy.db").status, 0);
    assert_eq!(dir.0.path().join("copy.db").metadata().unwrap().nlink(), 1);
    let twice = dir.run("backup copy.db");
    assert!(twice.err.contains("copy.db exists already"), "{}", twice.err);
}

/// By default a write beyond `ulimit -f` ends the process with SIGXFSZ, without a message. The unit is 512 bytes.
#[rstest]
#[case::store("import products products.csv", 260)]
#[case::backup("backup copy.db", 200)]
#[case::new_store("--database new.db init", 8)]
fn file_size_limit_is_reported(#[case] line: &str, #[case] limit: u32) {
    let dir = TestDir::stocked();
    let rows = (10..3_000).map(|id| format!("{id},Product {id},5,10\n"));
    let rows: String = std::iter::once("id,name,price,stock\n".to_owned()).chain(rows).collect();
    fs::write(dir.0.path().join("products.csv"), rows).unwrap();
    let script = format!("ulimit -f {limit}; exec $commerce {line}");
    let output = run_in_namespace(&dir, &script);
    assert_eq!(output.status, 1, "{}", output.out);
    assert!(output.err.starts_with("commerce: ") && output.err.contains(": "), "{}", output.err);
    assert_eq!(dir.run("audit").status, 0);
    assert!(!dir.0.path().join("copy.db").exists());
    assert_eq!(dir.run("--database new.db init").status, 0, "the partial store can be completed");
}

/// An operator may audit a restored store as root, before the user of the service opens it.
#[test]
fn lock_file_has_owner_and_mode_of_the_store() {
    let dir = TestDir::stocked();
    let (store, lock) = (dir.0.path().join("commerce.db"), dir.0.path().join("commerce.db-lock"));
    fs::remove_file(&lock).unwrap();
    fs::set_permissions(&store, PermissionsExt::from_mode(0o660)).unwrap();
    let owner = store.metadata().unwrap().uid();
    // Only root can change the owner of a file, and only root can cause this fault.
    let owner = if owner == 0 { 12_345 } else { owner };
    chown(&store, Some(owner), None).unwrap();
    assert_eq!(dir.run("audit").status, 0);
    let lock = lock.metadata().unwrap();
    assert_eq!((lock.uid(), lock.mode() & 0o777), (owner, 0o660));
}
