//! Damage of a log that SQLite would pass over in silence.
//!
//! When it opens a store after a crash, SQLite plays the log up to the first frame whose checksum is wrong, and
//! takes everything behind it for the torn end of a commit that was never acknowledged. A flipped bit in the
//! middle ends it as well, and drops acknowledged orders.
//!
//! The two can be told apart. Each commit waits for the disk before the next one begins, so a power cut tears
//! one commit at most, and behind the tear are frames of that one only. So a frame of the same generation of
//! the log (its header and its frames share two random numbers) that comes after the end of a commit, behind
//! the first bad frame, proves that the commit before it was acknowledged and is damaged. Damage within the
//! very last commit looks like a torn one and is not reported.

use super::identity::beside;
use crate::error::StoreError;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The first number of every log; the lowest bit says in which order of bytes checksums are computed.
const MAGIC: u32 = 0x377f_0682;

/// The size of pages, unless a sound header says otherwise.
const PAGE: usize = 4_096;

/// Reads that meet a log which is being written are repeated, as often as this.
const TRIES: usize = 3;

/// Where a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Damage {
    /// How many bytes before the first bad frame SQLite will play: whole commits only.
    sound: u64,
    /// How many commits are behind it.
    commits: u64,
}

/// Refuses the log of the store at `path` when acknowledged commits in it would be dropped.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    let mut found = None;
    // Another process may begin the log anew while it is read; what is damaged stays so.
    for _ in 0..TRIES {
        let damage = match read(&log) {
            Ok(damage) => damage,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                return Err(StoreError::Unavailable(format!("{}: {error}", log.display())));
            }
        };
        let Some(damage) = damage else { return Ok(()) };
        if found.replace(damage) == Some(damage) {
            break;
        }
    }
    let Some(Damage { sound, commits }) = found else { return Ok(()) };
    Err(StoreError::Corrupt(format!(
        "{log} is damaged, and {commits} commits behind the damage would be lost. Keep a copy of the store's \
         files, and put a backup in their place; to go on without these commits instead, run `truncate \
         --size={sound} {log}` and then `commerce audit`",
        log = log.display(),
    )))
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
        scan.see(&frame);
    }
    Ok(scan.damage())
}

/// Reads as much as fits; false at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// What has been seen of the frames so far.
struct Scan {
    salts: Option<[u8; 8]>,
    sum: Checksum,
    /// No frame was bad yet.
    is_sound: bool,
    /// The bytes read, and those of them up to the last sound commit.
    read: u64,
    sound: u64,
    /// Commits behind the first bad frame, and whether a frame of the same generation follows one.
    commits: u64,
    is_damaged: bool,
}

impl Scan {
    fn new(header: &[u8], sum: Checksum, is_sound: bool) -> Self {
        let salts = header.get(16..24).and_then(|salts| salts.try_into().ok());
        let read = u64::try_from(HEADER).unwrap_or(0);
        // The random numbers of a damaged header are those of the frame that comes first.
        let salts = salts.filter(|_| is_sound);
        Self { salts, sum, is_sound, read, sound: 0, commits: 0, is_damaged: false }
    }

    fn see(&mut self, frame: &[u8]) {
        let (head, page) = frame.split_at(FRAME_HEADER);
        self.read = self.read.saturating_add(u64::try_from(frame.len()).unwrap_or(0));
        let salts = head.get(8..16).and_then(|salts| <[u8; 8]>::try_from(salts).ok());
        let mut is_ours = salts == Some(*self.salts.get_or_insert(salts.unwrap_or_default()));
        let is_commit = word(head, 4) != 0;
        if self.is_sound {
            self.sum.add(head.get(..8).unwrap_or_default());
            self.sum.add(page);
            let follows = self.sum.is(head, 16);
            self.is_sound = is_ours && word(head, 0) != 0 && follows;
            if self.is_sound {
                if is_commit {
                    self.sound = self.read;
                }
                return;
            }
            // Checksums leave the random numbers out, and it is these that are wrong.
            is_ours |= follows;
        }
        if is_ours {
            self.is_damaged |= self.commits > 0;
            self.commits = self.commits.saturating_add(u64::from(is_commit));
        }
    }

    fn damage(self) -> Option<Damage> {
        let (sound, commits) = (self.sound, self.commits);
        self.is_damaged.then_some(Damage { sound, commits })
    }
}

/// The running checksum of SQLite's log: each word counts with all before it.
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

    /// Whether that is the sum which is kept at a place.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        self.sums == [word(bytes, at), word(bytes, at.saturating_add(4))]
    }
}

/// The number at a place; numbers outside of pages are big-endian.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}
