//! Loaded rows of one kind, and their changes.

use crate::state::misread::Misread;
use foldhash::HashMap;
use std::hash::Hash;

/// The change of a loaded row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Unchanged.
    None,
    /// A new row.
    Inserted,
    /// A row with changes that many commands make, such as those of a balance or a stock.
    Updated,
    /// A row with any change, also of its rare columns ([`ColumnRole::Rare`](crate::store::columns::ColumnRole::Rare)).
    Edited,
}

/// Rows of one kind by key. A loaded key has a row, or is known to have none.
#[derive(Debug)]
pub struct Rows<K, V> {
    /// Hashed by a few instructions: an order looks some twenty ids up. The seed is random, so that a client cannot choose
    /// ids that collide.
    rows: HashMap<K, (Option<V>, Change)>,
    misread: Misread,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { rows: HashMap::default(), misread: Misread::default() }
    }
}

impl<K: Copy + Ord + Hash, V> Rows<K, V> {
    /// Returns true if the key was loaded, whether or not it has a row.
    #[must_use]
    pub fn is_loaded(&self, key: K) -> bool {
        self.rows.contains_key(&key)
    }

    /// Adds what the store has under that key. A key that is loaded already stays unchanged.
    pub fn provide(&mut self, key: K, row: Option<V>) {
        self.rows.entry(key).or_insert((row, Change::None));
    }

    /// The row, if it exists.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        let (row, _) = self.misread.check(self.rows.get(&key))?;
        row.as_ref()
    }

    /// The row for a change of any of its columns, if it exists. It counts as edited.
    pub fn edit(&mut self, key: K) -> Option<&mut V> {
        let (row, change) = self.misread.check(self.rows.get_mut(&key))?;
        if row.is_some() && *change != Change::Inserted {
            *change = Change::Edited;
        }
        row.as_mut()
    }

    /// The row for a change of none of its rare columns, if it exists. It counts as updated.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (row, change) = self.misread.check(self.rows.get_mut(&key))?;
        if row.is_some() && *change == Change::None {
            *change = Change::Updated;
        }
        row.as_mut()
    }

    /// The row for the store that loads it in several steps. It does not count as changed.
    pub fn fill(&mut self, key: K) -> Option<&mut V> {
        self.rows.get_mut(&key).and_then(|(row, _)| row.as_mut())
    }

    /// Adds a row, or replaces the present one. It counts as inserted.
    pub fn insert(&mut self, key: K, row: V) {
        self.rows.insert(key, (Some(row), Change::Inserted));
    }

    /// The inserted, updated and edited rows, by key.
    #[must_use]
    pub fn changed(&self) -> Vec<(&V, Change)> {
        let mut changed: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, (_, change))| *change != Change::None)
            .filter_map(|(key, (row, change))| Some((*key, row.as_ref()?, *change)))
            .collect();
        changed.sort_unstable_by_key(|(key, ..)| *key);
        changed.into_iter().map(|(_, row, change)| (row, change)).collect()
    }

    /// The row under that key if it is loaded, for a read set that may still be extended: it may not exist.
    pub(crate) fn loaded(&self, key: K) -> Option<&Option<V>> {
        self.rows.get(&key).map(|(row, _)| row)
    }

    /// Removes loaded rows and their changes, as if they had not been loaded.
    pub(crate) fn forget(&mut self, is_forgotten: impl Fn(&K) -> bool) {
        self.rows.retain(|key, _| !is_forgotten(key));
    }

    /// The rows that exist, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().filter_map(|(row, _)| row.as_ref())
    }
}

impl<K, V> Rows<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn has_changed(&self) -> bool {
        self.rows.values().any(|(_, change)| *change != Change::None)
    }

    pub(super) fn misread(&self) -> &Misread {
        &self.misread
    }
}
