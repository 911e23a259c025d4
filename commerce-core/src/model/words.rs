//! The macro for the words of statuses, kinds and roles, as stores keep them and people read them. JSON has the same
//! words.

/// Generates the words of enums: `ALL`, `as_str`, `from_word` and `Display`, and a test that JSON has the same.
macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal,)+ })+) => {$(
        impl $type {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for the value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+

        #[cfg(test)]
        mod word_tests {
            use super::*;

            #[test]
            fn words_match_json_and_are_parsed_back() {
                $(for value in $type::ALL {
                    assert_eq!(serde_json::to_value(value).unwrap(), value.as_str());
                    assert_eq!($type::from_word(value.as_str()), Some(*value));
                })+
            }
        }
    };
}

pub(super) use words;
