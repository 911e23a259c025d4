//! Tokens of programs: their numbers have no gaps, their roles are those of staff, and each has a hash of its own.

use super::Check;
use super::problems::Problems;
use crate::model::wallet::Role;
use crate::store::Record;
use std::collections::BTreeSet;

const CHECK: &str = "tokens";

#[derive(Default)]
pub(super) struct Tokens {
    last: i64,
    hashes: BTreeSet<String>,
}

impl Check for Tokens {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        let Record::Token(token) = record else { return };
        let id = token.id.get();
        let mut report = |detail| problems.add(CHECK, format!("token {id}"), detail);
        if self.last.checked_add(1) != Some(id) {
            report(format!("follows token {}: tokens between them are missing", self.last));
        }
        self.last = id;
        if token.role == Role::Customer {
            report("its role is not one of staff".to_owned());
        }
        if token.hash.len() != 64 || !token.hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            report("its hash is not a SHA-256".to_owned());
        }
        if !self.hashes.insert(token.hash.clone()) {
            report("an earlier token has the same hash".to_owned());
        }
    }

    fn finish(&mut self, _problems: &mut Problems) {}
}
