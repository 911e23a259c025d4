//! The macros for the words of statuses, kinds and roles, as stores keep them and people read them, and for the codes
//! of those that each order writes. JSON has the words.

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

/// Generates the codes of enums, as the SQL stores keep them in each row of an order: `code` and `from_code`, and a test
/// that every code is read back. Codes are permanent. SQLite stores 0 and 1 without a byte of data, so the most frequent
/// values have these codes.
macro_rules! row_codes {
    ($type:ident { $($variant:ident = $code:literal,)+ }) => {
        impl $type {
            /// The code of the value in a row.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// The value of a code.
            #[must_use]
            pub const fn from_code(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        mod code_tests {
            use super::*;

            #[test]
            fn codes_are_read_back() {
                for value in $type::ALL {
                    assert_eq!($type::from_code(value.code()), Some(*value));
                }
            }
        }
    };
}

pub(super) use {row_codes, words};
