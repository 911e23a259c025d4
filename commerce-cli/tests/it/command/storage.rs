//! Stores on disks that are full, read-only or limited, and files of another user.

use super::{Place, Said, said};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

/// Runs a shell script with `$commerce`, in a mount namespace of its own where it may mount what it likes.
fn mounted(place: &Place, script: &str) -> Said {
    let is_root = place.0.path().metadata().unwrap().uid() == 0;
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"][..] });
    command.args(["sh", "-ec", script]).env("commerce", env!("CARGO_BIN_EXE_commerce"));
    said(&command.current_dir(place.0.path()).output().unwrap())
}

const READ_ONLY: &str = "mkdir mnt && mount --bind . mnt && mount -o remount,ro,bind mnt && cd mnt";

#[rstest]
#[case::audit("audit", "all is well")]
#[case::orders("orders list 1", "12.50")]
#[case::balance("balance 1", "87.50 USD")]
#[case::top("top", "Tea")]
#[case::events("events list", "order paid")]
#[case::pending("orders show 2", "pending")]
fn a_store_on_a_read_only_mount_can_be_read(#[case] line: &str, #[case] shown: &str) {
    let place = Place::stocked();
    assert_eq!(place.run("order 1 1").status, 0);
    assert_eq!(place.run("order 1 1 --unpaid").status, 0);
    fs::remove_file(place.0.path().join("commerce.db-lock")).unwrap();
    let said = mounted(&place, &format!("{READ_ONLY}; $commerce {line}"));
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert!(said.out.contains(shown), "{}", said.out);
}

#[test]
fn a_store_on_a_read_only_mount_can_be_backed_up_and_copied_to_another_folder() {
    let place = Place::stocked();
    let script = "$commerce backup ../copy.db; $commerce copy --from commerce.db --to ../copied.db";
    let said = mounted(&place, &format!("{READ_ONLY}; {script}"));
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert_eq!(place.run("--database copy.db audit").status, 0);
    assert_eq!(place.run("--database copied.db audit").status, 0);
}

#[test]
fn a_store_on_a_read_only_mount_takes_no_order_and_the_next_step_is_named() {
    let place = Place::stocked();
    let said = mounted(&place, &format!("{READ_ONLY}; $commerce order 1 1"));
    assert_eq!(said.status, 1);
    assert!(said.err.contains("can only be read: copy it to a folder"), "{}", said.err);
}

/// A log that was not carried over into the store holds its newest orders: the store alone would be an old one.
#[test]
fn a_store_on_a_read_only_mount_with_a_log_is_refused() {
    let place = Place::stocked();
    let db = rusqlite::Connection::open(place.0.path().join("commerce.db")).unwrap();
    db.execute("UPDATE products SET name = 'Coffee'", []).unwrap();
    let said = mounted(&place, &format!("{READ_ONLY}; $commerce product list"));
    assert_eq!(said.status, 1, "{}", said.out);
    assert!(
        said.err.contains("commerce.db-wal beside it holds changes: copy both"),
        "{}",
        said.err
    );
}

#[test]
fn a_disk_that_is_full_under_a_backup_is_not_reported_as_that_of_the_store() {
    let place = Place::stocked();
    let script = "mkdir small; mount -t tmpfs -o size=64k none small; $commerce backup small/copy.db || \
                  { status=$?; ls small; exit $status; }";
    let said = mounted(&place, script);
    assert_eq!((said.status, said.out.as_str()), (1, ""), "nothing is left: {}", said.err);
    let named = "the copy was not made: there is no room for small/copy.db.part: free some space";
    assert!(said.err.contains(named), "{}", said.err);
}

/// A backup must not depend on a second system call to be whole: a copy with two names does not open.
#[test]
fn a_backup_has_one_name() {
    let place = Place::stocked();
    assert_eq!(place.run("backup copy.db").status, 0);
    assert_eq!(place.0.path().join("copy.db").metadata().unwrap().nlink(), 1);
    let twice = place.run("backup copy.db");
    assert!(twice.err.contains("copy.db exists already"), "{}", twice.err);
}

/// By default a write beyond `ulimit -f` ends the process by a signal, without a message. The unit is 512 bytes.
#[rstest]
#[case::store("import products products.csv", 260)]
#[case::backup("backup copy.db", 200)]
#[case::new_store("--database new.db init", 8)]
fn a_limit_on_file_sizes_gets_a_sentence(#[case] line: &str, #[case] limit: u32) {
    let place = Place::stocked();
    let rows = (10..3_000).map(|id| format!("{id},Product {id},5,10\n"));
    let rows: String = std::iter::once("id,name,price,stock\n".to_owned()).chain(rows).collect();
    fs::write(place.0.path().join("products.csv"), rows).unwrap();
    let script = format!("ulimit -f {limit}; exec $commerce {line}");
    let said = mounted(&place, &script);
    assert_eq!(said.status, 1, "{}", said.out);
    assert!(said.err.starts_with("commerce: ") && said.err.contains(": "), "{}", said.err);
    assert_eq!(place.run("audit").status, 0);
    assert!(!place.0.path().join("copy.db").exists());
    assert_eq!(place.run("--database new.db init").status, 0, "what was left can be completed");
}

/// An operator audits a restored store as root; the service's user opens it afterwards.
#[test]
fn the_lock_file_belongs_to_the_owner_of_the_store_and_has_its_mode() {
    let place = Place::stocked();
    let (store, lock) =
        (place.0.path().join("commerce.db"), place.0.path().join("commerce.db-lock"));
    fs::remove_file(&lock).unwrap();
    fs::set_permissions(&store, PermissionsExt::from_mode(0o660)).unwrap();
    let owner = store.metadata().unwrap().uid();
    // Only root may give a file to another user, and only root makes the fault.
    let owner = if owner == 0 { 12_345 } else { owner };
    chown(&store, Some(owner), None).unwrap();
    assert_eq!(place.run("audit").status, 0);
    let lock = lock.metadata().unwrap();
    assert_eq!((lock.uid(), lock.mode() & 0o777), (owner, 0o660));
}
