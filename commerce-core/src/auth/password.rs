//! Passwords: hashed by Argon2id, so that a stolen store gives none away, and only two at a time, so
//! that logging in cannot take the machine's memory and processors from everybody else.

use crate::entropy;
use crate::error::{Error, Refusal, StoreError};
use crate::model::auth::PasswordHash;
use crate::sync::{self, Mutex, Semaphore};
use argon2::password_hash::phc::{self, Output, ParamsString, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// How many are hashed at a time, 19 MiB and some 30 ms of a processor each.
const AT_A_TIME: usize = 2;

/// How many may wait for that: about half a second's work.
const MAX_WAITING: usize = 16;

/// Random bytes of a salt: what RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// The hash of a password that nobody knows, made like all others: what is compared with when nobody
/// has the login, so that this takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0ISEh$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    hashing: Semaphore,
    /// The working memory of hashes that ended. It is kept, because an allocator that gets and returns such
    /// blocks on many threads keeps one for each of them.
    spare: Mutex<Vec<Vec<Block>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { hashing: Semaphore::new(AT_A_TIME, MAX_WAITING), spare: Mutex::default() }
    }
}

impl Passwords {
    /// A permit to hash one password, with the memory it takes. Refused when too many callers wait for one, and
    /// [`StoreError::OutOfMemory`] when there is no memory: before anything is counted or compared.
    pub(crate) fn acquire(&self) -> Result<Permit<'_>, Error> {
        let hashing = self.hashing.acquire().ok_or(Refusal::TooManyRequests { retry_after: 1 })?;
        let memory = self.spare.lock().pop().unwrap_or_default();
        let mut permit = Permit { spare: &self.spare, memory, _hashing: hashing };
        permit.reserve(&Params::default())?;
        Ok(permit)
    }
}

/// A permit to hash a password, with its working memory; both are returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    spare: &'a Mutex<Vec<Vec<Block>>>,
    memory: Vec<Block>,
    /// Released after the memory was returned.
    _hashing: sync::Permit<'a>,
}

impl Permit<'_> {
    /// What to keep of a password.
    pub(crate) fn hash(&mut self, password: &str) -> Result<PasswordHash, Error> {
        // The crate's defaults are what OWASP asks for at least: 19 MiB, two passes, one lane.
        let params = Params::default();
        let salt: [u8; SALT_BYTES] = entropy::bytes()?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(failed)?,
            salt: Some(Salt::new(&salt).map_err(failed)?),
            hash: Some(self.output(password, &salt, params)?),
        };
        Ok(PasswordHash::new(hash.to_string()))
    }

    /// Whether it is the password that was hashed. Takes as long when there is no hash.
    pub(crate) fn matches(
        &mut self,
        password: &str,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Error> {
        let kept = hash.map_or(NOBODYS, PasswordHash::as_str);
        let kept = phc::PasswordHash::new(kept).map_err(failed)?;
        let params = Params::try_from(&kept).map_err(failed)?;
        let salt = kept.salt.ok_or_else(|| failed("the hash has no salt"))?;
        let output = self.output(password, &salt, params)?;
        // Compares in constant time.
        Ok(kept.hash == Some(output) && hash.is_some())
    }

    fn output(&mut self, password: &str, salt: &[u8], params: Params) -> Result<Output, Error> {
        self.reserve(&params)?;
        let mut bytes = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let bytes = bytes.get_mut(..length).ok_or_else(|| failed("the hash is too long"))?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password.as_bytes(), salt, bytes, &mut self.memory)
            .map_err(failed)?;
        Ok(Output::new(bytes).map_err(failed)?)
    }

    /// Makes the memory large enough. An allocation that fails must not end the process, and must not be
    /// mistaken for a wrong password.
    fn reserve(&mut self, params: &Params) -> Result<(), StoreError> {
        let missing = params.block_count().saturating_sub(self.memory.len());
        self.memory.try_reserve_exact(missing).map_err(|_| StoreError::OutOfMemory)?;
        self.memory.resize(self.memory.len().saturating_add(missing), Block::new());
        Ok(())
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.memory.is_empty() {
            self.spare.lock().push(std::mem::take(&mut self.memory));
        }
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("passwords cannot be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordHasher;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let passwords = Passwords::default();
        let mut turn = passwords.acquire().unwrap();
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
        let shut = gate.lock();
        let work = || {
            let _turn = passwords.acquire().unwrap();
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            drop(gate.lock());
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            let callers = AT_A_TIME + MAX_WAITING;
            let waiting: Vec<_> = (0..callers).map(|_| scope.spawn(work)).collect();
            while passwords.hashing.waiting() < MAX_WAITING
                || inside.load(Ordering::SeqCst) < AT_A_TIME
            {
                std::thread::yield_now();
            }
            let refused = passwords.acquire().err().unwrap();
            assert_eq!(refused, Refusal::TooManyRequests { retry_after: 1 }.into());
            drop(shut);
            assert!(waiting.into_iter().all(|caller| caller.join().is_ok()));
        });
        assert_eq!(most.into_inner(), AT_A_TIME);
        assert!(passwords.acquire().is_ok());
        assert_eq!(passwords.spare.lock().len(), AT_A_TIME, "memory is kept for the next hashes");
    }

    #[test]
    fn a_hash_of_other_parameters_is_checked_with_these() {
        let passwords = Passwords::default();
        let mut turn = passwords.acquire().unwrap();
        let other = Argon2::from(Params::new(32 * 1024, 1, 1, None).unwrap());
        let larger = other.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap().to_string();
        let larger = PasswordHash::new(larger);
        assert!(turn.matches("correct horse", Some(&larger)).unwrap());
        assert!(!turn.matches("wrong horse", Some(&larger)).unwrap());
    }
}
