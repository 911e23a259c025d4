//! Lines are never lost, broken or written to another file, whatever happens to the file.

use super::*;
use crate::receiver::event;
use rstest::rstest;
use std::cell::Cell;
use std::fs;

fn encoder() -> EventEncoder {
    EventEncoder { source: "/commerce".to_owned(), currency: None }
}

fn line(id: i64) -> Vec<u8> {
    encoder().lines(&[event(id, 1)]).unwrap()
}

fn deliver(to: &FileDestination, ids: &[i64]) {
    let events: Vec<Event> = ids.iter().map(|id| event(*id, 1)).collect();
    assert_eq!(to.deliver(&events), DeliveryResult::Done);
}

fn lines(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn lines_are_appended_in_order_for_owner_and_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    let file = FileDestination::new(path.clone(), encoder());
    deliver(&file, &[1, 2]);
    deliver(&file, &[3]);
    assert_eq!(lines(&path), [line(1), line(2), line(3)].concat());
    assert_eq!(path.metadata().unwrap().mode() & 0o137, 0);
}

#[test]
fn file_is_recreated_after_it_was_moved_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("events"), folder.path().join("events.1"));
    let file = FileDestination::new(path.clone(), encoder());
    deliver(&file, &[1]);
    fs::rename(&path, &moved).unwrap();
    deliver(&file, &[2]);
    assert_eq!((lines(&moved), lines(&path)), (line(1), line(2)));
    fs::remove_file(&path).unwrap();
    deliver(&file, &[3]);
    assert_eq!(lines(&path), line(3));
    fs::rename(&moved, &path).unwrap();
    deliver(&file, &[4]);
    assert_eq!(lines(&path), [line(1), line(4)].concat());
}

/// A program that rotates the file may hold its lock, so that no line is written to it meanwhile.
#[rstest]
#[case::moved(1, true)]
#[case::moved_repeatedly(9, false)]
fn file_moved_during_the_wait_for_its_lock_is_not_written_to(
    #[case] times: usize,
    #[case] is_opened: bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let moved = Cell::new(0);
    let file = open_locked(&path, Some(open_file(&path).unwrap()), |_| {
        if moved.get() < times {
            moved.set(moved.get() + 1);
            fs::rename(&path, folder.path().join(moved.get().to_string()))?;
        }
        Ok(())
    });
    assert_eq!(file.is_ok(), is_opened);
    if let Ok(mut file) = file {
        file.write_all(&line(1)).unwrap();
        assert_eq!((lines(&folder.path().join("1")), lines(&path)), (Vec::new(), line(1)));
    }
}

#[test]
fn truncated_file_is_written_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let file = FileDestination::new(path.clone(), encoder());
    deliver(&file, &[1]);
    fs::write(&path, b"").unwrap();
    deliver(&file, &[2]);
    assert_eq!(lines(&path), line(2));
}

#[rstest]
#[case::empty(Vec::new(), Vec::new())]
#[case::whole(line(1), line(1))]
#[case::half([line(1), line(2)[..40].to_vec()].concat(), line(1))]
#[case::half_only(line(1)[..40].to_vec(), Vec::new())]
#[case::one_byte([line(1), b"{".to_vec()].concat(), line(1))]
#[case::all_but_the_end([line(1), line(2)[..line(2).len() - 1].to_vec()].concat(), line(1))]
#[case::foreign_text(b"a note".to_vec(), b"a note\n".to_vec())]
fn partial_line_is_truncated_and_foreign_text_is_kept(
    #[case] before: Vec<u8>,
    #[case] before_line: Vec<u8>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(&path, before).unwrap();
    deliver(&FileDestination::new(path.clone(), encoder()), &[9]);
    assert_eq!(lines(&path), [before_line, line(9)].concat());
}

#[test]
fn two_relays_share_a_file_without_losing_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    thread::scope(|scope| {
        for relay in 0..2 {
            let path = &path;
            scope.spawn(move || {
                let mut file = FileDestination::new(path.clone(), encoder());
                file.timeout = Duration::from_secs(180);
                for id in 0..20 {
                    deliver(&file, &[relay * 100 + id]);
                }
            });
        }
    });
    let text = String::from_utf8(lines(&path)).unwrap();
    let mut ids: Vec<i64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["sequence"].as_str().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).chain(100..120).collect::<Vec<i64>>());
}

#[rstest]
#[case("missing/events")]
#[case("")]
fn unwritable_file_fails_the_delivery(#[case] name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = FileDestination::new(folder.path().join(name), encoder());
    let delivery = file.deliver(&[event(1, 1)]);
    assert!(matches!(delivery, DeliveryResult::Failed { .. }), "{delivery:?}");
}

#[test]
fn locked_file_fails_the_delivery_after_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let holder = File::create(&path).unwrap();
    holder.lock().unwrap();
    let mut file = FileDestination::new(path.clone(), encoder());
    file.timeout = Duration::from_millis(20);
    let delivery = file.deliver(&[event(1, 1)]);
    assert!(matches!(delivery, DeliveryResult::Failed { .. }), "{delivery:?}");
    drop(holder);
    deliver(&file, &[1]);
    assert_eq!(lines(&path), line(1));
}
