//! A change of a value that may be absent, in a request in which absent members are unchanged.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A change of a value that may be absent. As a member of JSON, `null` removes the value and an absent member keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The value is unchanged.
    #[default]
    Keep,
    /// The value is removed.
    Remove,
    /// The value is replaced.
    Set(T),
}

impl<T> Patch<T> {
    /// Returns true if the value is unchanged.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the value after the change.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Remove => None,
            Self::Set(value) => Some(value),
        }
    }

    /// Returns the new value, if there is one.
    pub fn value(self) -> Option<T> {
        self.apply(None)
    }
}

/// `None` removes the value.
impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Remove, Self::Set)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

/// A member that is kept is to be left out with [`Patch::is_keep`].
impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Remove => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Body {
        #[serde(default, skip_serializing_if = "Patch::is_keep")]
        limit: Patch<i64>,
    }

    #[rstest]
    #[case::absent("{}", Patch::Keep, Some(7))]
    #[case::null(r#"{"limit":null}"#, Patch::Remove, None)]
    #[case::value(r#"{"limit":3}"#, Patch::Set(3), Some(3))]
    fn null_removes_and_an_absent_member_keeps(
        #[case] json: &str,
        #[case] limit: Patch<i64>,
        #[case] after: Option<i64>,
    ) {
        assert_eq!(serde_json::from_str::<Body>(json).unwrap(), Body { limit });
        assert_eq!(serde_json::to_string(&Body { limit }).unwrap(), json);
        assert_eq!(limit.apply(Some(7)), after);
    }
}
