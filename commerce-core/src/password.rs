//! Password hashing: Argon2id, so that a stolen store reveals no password, and only two hashes at a time, so that
//! logins cannot use up the machine's memory and processors. The two are shared fairly between clients.

use crate::entropy;
use crate::error::{Error, StoreError};
use crate::model::auth::{LoginHash, PasswordHash};
use crate::sync::Mutex;
use argon2::password_hash::phc::{self, Output, ParamsString, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
pub use client::Client;
use fair_queue::FairSemaphore;

mod client;
mod fair_queue;

/// The number of concurrent hashes, 19 MiB and some 30 ms of a processor each.
const MAX_CONCURRENT: usize = 2;

/// The number of callers that may wait for a permit: about a quarter of a second's work. Each holds a thread, so that
/// more would take those of other calls.
const MAX_WAITING: usize = 16;

/// The number of callers of one client that may wait. Other clients find places without displacing them.
const MAX_WAITING_PER_CLIENT: usize = 12;

/// Random bytes of a salt, as RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// A hash with the usual parameters that no password matches. An unknown login is compared with it, so that the
/// comparison takes as long as for a known one.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0ISEh$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and verifies passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    hashing: FairSemaphore,
    /// The working memory of finished hashes, kept for the next ones: an allocator that allocates and frees such
    /// blocks on many threads keeps one for each thread.
    spare: Mutex<Vec<Vec<Block>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        let hashing = FairSemaphore::new(MAX_CONCURRENT, MAX_WAITING, MAX_WAITING_PER_CLIENT);
        Self { hashing, spare: Mutex::default() }
    }
}

impl Passwords {
    /// Waits for a permit to hash one password of a login, with the memory for it.
    ///
    /// Fails with [`StoreError::Overloaded`] when too many callers wait, and with [`StoreError::OutOfMemory`] when there
    /// is no memory: before any attempt is counted or compared.
    pub(crate) fn acquire(&self, client: Client, login: &str) -> Result<Permit<'_>, StoreError> {
        let login = LoginHash::of(login);
        let hashing = self.hashing.acquire(client, login).ok_or(StoreError::Overloaded)?;
        let memory = self.spare.lock().pop().unwrap_or_default();
        let mut permit = Permit { passwords: self, client, login, memory, _hashing: hashing };
        permit.reserve(&Params::default())?;
        Ok(permit)
    }

    /// The load of hashing.
    pub(crate) fn stats(&self) -> PasswordStats {
        PasswordStats { waiting: self.hashing.waiting(), shed: self.hashing.shed() }
    }
}

/// The load of password hashing, from [`Shop::password_stats`](crate::shop::Shop::password_stats).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordStats {
    /// Logins and sign-ups that wait for others.
    pub waiting: usize,
    /// Logins and sign-ups that failed with [`StoreError::Overloaded`], since the start.
    pub shed: u64,
}

/// A permit to hash a password, with its working memory; both are returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    passwords: &'a Passwords,
    client: Client,
    login: LoginHash,
    memory: Vec<Block>,
    /// Released after the memory was returned.
    _hashing: fair_queue::Permit<'a>,
}

impl Permit<'_> {
    /// Returns the hash of a password, to be stored.
    pub(crate) fn hash(&mut self, password: &str) -> Result<PasswordHash, Error> {
        // The crate's defaults are the minimum that OWASP asks for: 19 MiB, two passes, one lane.
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

    /// Returns true if the hash is of this password. Takes as long without a hash. The login is then known: while others
    /// at the address of its client guess passwords, it gets every second permit that the address gets.
    pub(crate) fn matches(
        &mut self,
        password: &str,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Error> {
        let stored = hash.map_or(DUMMY_HASH, PasswordHash::as_str);
        let stored = phc::PasswordHash::new(stored).map_err(failed)?;
        let params = Params::try_from(&stored).map_err(failed)?;
        let salt = stored.salt.ok_or_else(|| failed("the hash has no salt"))?;
        let output = self.output(password, &salt, params)?;
        // `Output` compares in constant time.
        let is_match = stored.hash == Some(output) && hash.is_some();
        if is_match {
            self.passwords.hashing.remember(self.client, self.login);
        }
        Ok(is_match)
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

    /// Grows the working memory as needed. A failed allocation must not end the process, and must not look like a
    /// wrong password.
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
            self.passwords.spare.lock().push(std::mem::take(&mut self.memory));
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
    fn hash_matches_its_password_and_no_other() {
        let passwords = Passwords::default();
        let mut permit = passwords.acquire(Client::default(), "kim").unwrap();
        let hash = permit.hash("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert_ne!(hash, permit.hash("correct horse").unwrap(), "each hash has its own salt");
        assert!(permit.matches("correct horse", Some(&hash)).unwrap());
        assert!(!permit.matches("wrong horse", Some(&hash)).unwrap());
        assert!(!permit.matches("correct horse", None).unwrap());
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
    }

    #[test]
    fn two_passwords_are_hashed_at_a_time_in_memory_that_is_reused() {
        let passwords = Passwords::default();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |client| {
            let _permit = passwords.acquire(Client::new(client), "kim").unwrap();
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        let permits = [1, 2].map(|client| passwords.acquire(Client::new(client), "kim").unwrap());
        std::thread::scope(|scope| {
            for client in 0..4 {
                scope.spawn(move || (0..4).for_each(|_| work(client)));
            }
            while passwords.stats().waiting < 4 {
                std::thread::yield_now();
            }
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            drop(permits);
        });
        assert!(most.into_inner() <= MAX_CONCURRENT);
        assert_eq!(passwords.spare.lock().len(), MAX_CONCURRENT);
        assert_eq!(passwords.stats(), PasswordStats { waiting: 0, shed: 0 });
    }

    #[test]
    fn caller_beyond_the_queue_of_its_client_fails_as_overloaded() {
        let passwords = Passwords::default();
        let acquire = |client| passwords.acquire(Client::new(client), "kim");
        let permits = [acquire(1), acquire(1)];
        std::thread::scope(|scope| {
            for _ in 0..MAX_WAITING_PER_CLIENT {
                scope.spawn(|| acquire(1).map(drop).unwrap());
            }
            while passwords.stats().waiting < MAX_WAITING_PER_CLIENT {
                std::thread::yield_now();
            }
            assert_eq!(acquire(1).unwrap_err(), StoreError::Overloaded);
            let other = scope.spawn(|| acquire(2).map(drop));
            while passwords.stats().waiting <= MAX_WAITING_PER_CLIENT {
                std::thread::yield_now();
            }
            drop(permits);
            other.join().unwrap().unwrap();
        });
        assert_eq!(passwords.stats(), PasswordStats { waiting: 0, shed: 1 });
    }

    #[test]
    fn hash_is_verified_with_its_own_parameters() {
        let passwords = Passwords::default();
        let mut permit = passwords.acquire(Client::default(), "kim").unwrap();
        let other = Argon2::from(Params::new(32 * 1024, 1, 1, None).unwrap());
        let larger = other.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap().to_string();
        let larger = PasswordHash::new(larger);
        assert!(permit.matches("correct horse", Some(&larger)).unwrap());
        assert!(!permit.matches("wrong horse", Some(&larger)).unwrap());
    }
}
