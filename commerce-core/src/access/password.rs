//! Passwords: hashed by Argon2id, so that a stolen store gives none away, and only two at a time, so
//! that logging in cannot take the machine's memory and processors from everybody else.

use crate::{Error, PasswordHash, Refusal, StoreError};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use std::sync::{Condvar, Mutex, PoisonError};

/// How many are hashed at a time, 19 MiB and some 30 ms of a processor each.
const AT_A_TIME: usize = 2;

/// How many may wait for that: about half a second's work.
const MAX_WAITING: usize = 16;

/// The hash of a password that nobody knows, made like all others: what is compared with when nobody
/// has the login, so that this takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0ISEh$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords.
#[derive(Debug, Default)]
pub(crate) struct Passwords {
    line: Mutex<Line>,
    next: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    hashing: usize,
    waiting: usize,
}

impl Passwords {
    /// A turn to hash one password, when it comes; refused when the line is too long.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, Refusal> {
        let mut line = self.line();
        if line.waiting >= MAX_WAITING {
            return Err(Refusal::TooManyRequests { retry_after: 1 });
        }
        line.waiting = line.waiting.saturating_add(1);
        while line.hashing >= AT_A_TIME {
            line = self.next.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        line.waiting = line.waiting.saturating_sub(1);
        line.hashing = line.hashing.saturating_add(1);
        drop(line);
        Ok(Turn(self))
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to hash a password; given on when dropped.
pub(crate) struct Turn<'a>(&'a Passwords);

impl Turn<'_> {
    /// What to keep of a password.
    #[expect(clippy::unused_self, reason = "who has no turn must not")]
    pub(crate) fn hash(&self, password: &str) -> Result<PasswordHash, Error> {
        // The crate's defaults are what OWASP asks for at least: 19 MiB, two passes, one lane.
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash: phc::PasswordHash = hash.map_err(failed)?;
        Ok(PasswordHash::new(hash.to_string()))
    }

    /// Whether it is the password that was hashed. Takes as long when there is no hash.
    #[expect(clippy::unused_self, reason = "who has no turn must not")]
    pub(crate) fn matches(
        &self,
        password: &str,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Error> {
        let kept = hash.map_or(NOBODYS, PasswordHash::as_str);
        let kept = phc::PasswordHash::new(kept).map_err(failed)?;
        let verified = Argon2::default().verify_password(password.as_bytes(), &kept);
        Ok(verified.is_ok() && hash.is_some())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.hashing = line.hashing.saturating_sub(1);
        drop(line);
        self.0.next.notify_one();
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("passwords cannot be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let passwords = Passwords::default();
        let turn = passwords.turn().unwrap();
        let hash = turn.hash("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert_ne!(hash, turn.hash("correct horse").unwrap(), "each has a salt of its own");
        assert!(turn.matches("correct horse", Some(&hash)).unwrap());
        assert!(!turn.matches("wrong horse", Some(&hash)).unwrap());
        assert!(!turn.matches("correct horse", None).unwrap());
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
    }

    #[test]
    fn two_at_a_time_are_hashed_and_a_long_line_is_refused() {
        let passwords = Passwords::default();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let gate = Mutex::new(());
        let shut = gate.lock().unwrap();
        let work = || {
            let _turn = passwords.turn().unwrap();
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            drop(gate.lock().unwrap());
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            let callers = AT_A_TIME + MAX_WAITING;
            let waiting: Vec<_> = (0..callers).map(|_| scope.spawn(work)).collect();
            while passwords.line().waiting < MAX_WAITING || passwords.line().hashing < AT_A_TIME {
                std::thread::yield_now();
            }
            let refused = passwords.turn().err().unwrap();
            assert_eq!(refused, Refusal::TooManyRequests { retry_after: 1 });
            drop(shut);
            assert!(waiting.into_iter().all(|caller| caller.join().is_ok()));
        });
        assert_eq!(most.into_inner(), AT_A_TIME);
        assert!(passwords.turn().is_ok());
    }
}
