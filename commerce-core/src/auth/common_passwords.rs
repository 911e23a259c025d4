//! The commonest passwords, which an attacker tries first.
//!
//! `common_passwords.txt` was made once from the list of 99,838 passwords in the crate `passwords` 3.1.19
//! (MIT License, Copyright (c) 2018 magiclen.org (Ron Li)): the 46,483 entries that the length rule would accept,
//! in the form in which passwords are hashed, in lower case, sorted by bytes, one per line.
//!
//! The list is searched as text. A table of string slices would hold a pointer and a length for each entry, and
//! the loader would relocate all of them at each start: 1.6 MB, and 1.5 ms of every short command.

use std::cmp::Ordering;

const LIST: &str = include_str!("common_passwords.txt");

/// Returns true if the password is in the list, whatever its capital letters: a capital letter at the beginning is
/// guessed first as well.
pub(super) fn is_common(password: &str) -> bool {
    has_line(LIST.as_bytes(), password.to_lowercase().as_bytes())
}

/// Returns true if one of these sorted lines is `wanted`, by binary search over the text.
fn has_line(mut lines: &[u8], wanted: &[u8]) -> bool {
    let is_end = |byte: &u8| *byte == b'\n';
    while !lines.is_empty() {
        let (head, tail) = lines.split_at(lines.len() / 2);
        let start = head.iter().rposition(is_end).map_or(0, |at| at.saturating_add(1));
        let length = tail.iter().position(is_end).unwrap_or(tail.len());
        let (before, rest) = lines.split_at(start);
        let (line, after) = rest.split_at(head.len().saturating_sub(start).saturating_add(length));
        lines = match line.cmp(wanted) {
            Ordering::Equal => return true,
            Ordering::Less => after.get(1..).unwrap_or_default(),
            Ordering::Greater => before,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_PASSWORD, MIN_PASSWORD};
    use crate::text;

    #[test]
    fn list_is_sorted_and_holds_acceptable_lower_case_passwords() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.is_sorted_by(|one, next| one < next));
        for line in &lines {
            let length = line.chars().count();
            assert!((MIN_PASSWORD..=MAX_PASSWORD).contains(&length), "{line}");
            assert_eq!(text::password(line).as_deref(), Some(*line));
            assert_eq!(line.to_lowercase(), *line);
        }
    }

    #[test]
    fn every_entry_is_found_and_its_neighbours_are_not() {
        for line in LIST.lines() {
            assert!(is_common(line), "{line}");
            assert!(!has_line(LIST.as_bytes(), format!("{line}\u{1}").as_bytes()), "{line}");
        }
        for absent in ["", "\n", "correct horse battery", "\u{10ffff}"] {
            assert!(!is_common(absent), "{absent}");
        }
    }

    #[test]
    fn capital_letters_do_not_hide_a_common_password() {
        assert!(is_common("password") && is_common("Password") && is_common("PassWord1"));
    }
}
