//! Detects damage of a log that SQLite does not report.
//!
//! When it opens a store after a crash, SQLite replays the log up to the first frame with a wrong checksum, and takes
//! everything after it for a torn commit that was never acknowledged. A flipped bit in the middle ends the replay as
//! well, and drops acknowledged orders.
//!
//! The two can be distinguished. Each commit syncs the disk before the next one begins, so a power failure tears at
//! most one commit, and after the tear are frames of that one only. So a frame of the same generation of the log (its
//! header and its frames share two random numbers, the salts) that follows the end of a commit, after the first bad
//! frame, proves that this commit was acknowledged and is damaged. Damage within the very last commit looks like a torn
//! one and is not reported.

use super::paths::beside;
use crate::error::StoreError;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The first number of every log; its lowest bit is the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;

/// The page size if the header is damaged.
const PAGE: usize = 4_096;

/// The greatest number of reads. A log that differs each time is in use, so SQLite does not replay it.
const TRIES: usize = 100;

/// The damage of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Damage {
    /// The salts of the log.
    salts: Option<[u8; 8]>,
    /// The bytes before the first bad frame that SQLite replays: whole commits only.
    sound: u64,
    /// The number of commits after the damage.
    commits: u64,
}

/// Refuses the log of the store at `path` if SQLite would drop acknowledged commits in it.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    let found = match found_again(|| read(&log)) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            return Err(StoreError::Unavailable(format!("{}: {error}", log.display())));
        }
    };
    let Some(Damage { sound, commits, .. }) = found else { return Ok(()) };
    Err(StoreError::Corrupt(format!(
        "{log} is damaged, and {commits} commits after the damage would be lost. Keep a copy of the store's \
         files, and put a backup in their place; to go on without these commits instead, run `truncate \
         --size={sound} {log}` and then audit the store",
        log = log.display(),
    )))
}

/// Returns the damage that two reads in a row find at the same place. Another process may append to the log or restart
/// it while it is read: what looks like damage is then sound, or elsewhere, in the next read.
fn found_again(mut read: impl FnMut() -> io::Result<Option<Damage>>) -> io::Result<Option<Damage>> {
    let mut found: Option<Damage> = None;
    for _ in 0..TRIES {
        let Some(damage) = read()? else { return Ok(None) };
        let place = |damage: Damage| (damage.salts, damage.sound);
        if found.replace(damage).map(place) == Some(place(damage)) {
            return Ok(found);
        }
    }
    Ok(None)
}

fn read(log: &Path) -> io::Result<Option<Damage>> {
    let mut file = BufReader::new(File::open(log)?);
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(None);
    }
    let mut sum = Checksum::new(word(&header, 0));
    sum.add(header.get(..24).unwrap_or_default());
    let header_is_sound = word(&header, 0) & !1 == MAGIC && sum.is(&header, 24);
    let page = Some(word(&header, 8)).filter(|_| header_is_sound);
    let page = page.and_then(|page| usize::try_from(page).ok());
    let page = page.filter(|page| (512..=65_536).contains(page)).unwrap_or(PAGE);
    let mut scan = Scan::new(&header, sum, header_is_sound);
    let mut frame = vec![0; page.saturating_add(FRAME_HEADER)];
    while fill(&mut file, &mut frame)? {
        scan.add(&frame);
    }
    Ok(scan.damage())
}

/// Fills the buffer; returns false at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The state of a scan over the frames.
struct Scan {
    salts: Option<[u8; 8]>,
    sum: Checksum,
    /// No bad frame was found yet.
    is_sound: bool,
    /// The bytes read, and the bytes up to the last sound commit.
    read: u64,
    sound: u64,
    /// Commits after the first bad frame.
    commits: u64,
    /// A frame of the same generation follows one of them.
    is_damaged: bool,
}

impl Scan {
    fn new(header: &[u8], sum: Checksum, is_sound: bool) -> Self {
        let salts = header.get(16..24).and_then(|salts| salts.try_into().ok());
        let read = u64::try_from(HEADER).unwrap_or(0);
        // If the header is damaged, the salts of the first frame count.
        let salts = salts.filter(|_| is_sound);
        Self { salts, sum, is_sound, read, sound: 0, commits: 0, is_damaged: false }
    }

    fn add(&mut self, frame: &[u8]) {
        let (head, page) = frame.split_at(FRAME_HEADER);
        self.read = self.read.saturating_add(u64::try_from(frame.len()).unwrap_or(0));
        let salts = head.get(8..16).and_then(|salts| <[u8; 8]>::try_from(salts).ok());
        let mut is_of_log = salts == Some(*self.salts.get_or_insert(salts.unwrap_or_default()));
        let is_commit = word(head, 4) != 0;
        if self.is_sound {
            self.sum.add(head.get(..8).unwrap_or_default());
            self.sum.add(page);
            let follows = self.sum.is(head, 16);
            self.is_sound = is_of_log && word(head, 0) != 0 && follows;
            if self.is_sound {
                if is_commit {
                    self.sound = self.read;
                }
                return;
            }
            // Checksums do not cover the salts: if the checksum is right, the salts are damaged.
            is_of_log |= follows;
        }
        if is_of_log {
            self.is_damaged |= self.commits > 0;
            self.commits = self.commits.saturating_add(u64::from(is_commit));
        }
    }

    fn damage(self) -> Option<Damage> {
        let Self { salts, sound, commits, .. } = self;
        self.is_damaged.then_some(Damage { salts, sound, commits })
    }
}

/// The running checksum of SQLite's log, over all words so far.
struct Checksum {
    is_big_endian: bool,
    sums: [u32; 2],
}

impl Checksum {
    fn new(magic: u32) -> Self {
        Self { is_big_endian: magic & 1 == 1, sums: [0; 2] }
    }

    fn add(&mut self, bytes: &[u8]) {
        let read = |word: &[u8; 4]| {
            if self.is_big_endian { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) }
        };
        let [mut first, mut second] = self.sums;
        let (words, _) = bytes.as_chunks::<4>();
        for pair in words.as_chunks::<2>().0 {
            let [one, two] = pair.each_ref().map(read);
            first = first.wrapping_add(one).wrapping_add(second);
            second = second.wrapping_add(two).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    /// Returns true if the checksum stored at an offset is this one.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        self.sums == [word(bytes, at), word(bytes, at.saturating_add(4))]
    }
}

/// Returns the number at an offset; numbers outside of pages are big-endian.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(sound: u64, commits: u64) -> Damage {
        Damage { salts: None, sound, commits }
    }

    fn found(reads: &[Option<Damage>]) -> Option<Damage> {
        let mut reads = reads.iter().cycle().copied();
        found_again(|| Ok(reads.next().flatten())).unwrap()
    }

    #[test]
    fn damage_at_another_place_in_each_read_is_a_log_in_use() {
        assert_eq!(found(&[1, 2, 3].map(|sound| Some(damage(sound, 3)))), None);
        assert_eq!(found(&[Some(damage(1, 3)), None]), None);
    }

    #[test]
    fn damage_at_the_same_place_is_found_while_commits_are_appended() {
        assert_eq!(found(&[3, 4].map(|commits| Some(damage(1, commits)))), Some(damage(1, 4)));
    }
}
