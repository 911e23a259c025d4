//! Text input: normalization of logins and passwords, and detection of invisible and control characters.

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use std::ops::RangeInclusive;
use unicode_normalization::UnicodeNormalization;

/// Invisible characters: `Default_Ignorable_Code_Point` of Unicode, and the Braille pattern without dots.
const INVISIBLE: [RangeInclusive<char>; 18] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Characters that change the direction of the following text: `Bidi_Control` of Unicode.
const BIDI_CONTROLS: [RangeInclusive<char>; 4] = [
    '\u{61c}'..='\u{61c}',
    '\u{200e}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2066}'..='\u{2069}',
];

/// Returns true if a text has a visible character.
pub(crate) fn is_visible(text: &str) -> bool {
    let hidden = |char: char| {
        char.is_whitespace()
            || char.is_control()
            || INVISIBLE.iter().any(|range| range.contains(&char))
    };
    !text.chars().all(hidden)
}

/// Returns true if a character affects how the text around it is displayed: a control character, a line separator,
/// or a change of direction.
pub(crate) fn is_control(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}')
        || BIDI_CONTROLS.iter().any(|range| range.contains(&char))
}

/// Folds a text for a search: upper and lower case, wide and narrow, composed and decomposed letters are equal. To upper case
/// first, since some letters share it, as both forms of a final sigma do.
pub(crate) fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// Normalizes a login for storage and lookup: `UsernameCaseMapped` of RFC 8265, so that upper and lower case, wide and
/// narrow, composed and decomposed letters are one login. Returns `None` if the text is no valid login: it is empty, or
/// has spaces, control characters, symbols beyond ASCII, or invisible characters.
pub(crate) fn login(text: &str) -> Option<String> {
    // Composed first, because the profile refuses decomposed Hangul.
    let composed: String = text.nfc().collect();
    UsernameCaseMapped::enforce(composed).ok().map(Into::into)
}

/// Normalizes a password for hashing: `OpaqueString` of RFC 8265, so that composed and decomposed letters, and spaces of
/// all kinds, are one password. Returns `None` if it has control characters or a byte order mark.
///
/// Unlike the profile, which is limited to the characters of Unicode 6.3, it accepts all current ones.
pub(crate) fn password(text: &str) -> Option<String> {
    if text.chars().any(|char| is_control(char) || char == '\u{feff}') {
        return None;
    }
    let spaced = text.chars().map(|char| if char.is_whitespace() { ' ' } else { char });
    Some(spaced.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::case("GREEN Tea", "green tea", true)]
    #[case::umlaut("\u{dc}BER", "\u{fc}ber", true)]
    #[case::sharp_s("STRASSE", "stra\u{df}e", true)]
    #[case::final_sigma("\u{3a3}\u{3a3}", "\u{3c3}\u{3c2}", true)]
    #[case::decomposed("Jose\u{301}", "jos\u{e9}", true)]
    #[case::hangul("\u{1100}\u{1175}\u{11b7}", "\u{ae40}", true)]
    #[case::wide("\u{ff34}ea", "tea", true)]
    #[case::accent("jose", "jos\u{e9}", false)]
    fn fold_makes_letters_of_any_case_equal(
        #[case] one: &str,
        #[case] other: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(fold(one) == fold(other), expected, "{:?} {:?}", fold(one), fold(other));
    }

    #[rstest]
    #[case::lower_case("Kim@Example.COM", Some("kim@example.com"))]
    #[case::decomposed("Jose\u{301}", Some("jos\u{e9}"))]
    #[case::composed("jos\u{e9}", Some("jos\u{e9}"))]
    #[case::decomposed_hangul("\u{1100}\u{1175}\u{11b7}", Some("\u{ae40}"))]
    #[case::wide("\u{ff4b}\u{ff49}\u{ff4d}", Some("kim"))]
    #[case::punctuation("a_b-c+d.e", Some("a_b-c+d.e"))]
    #[case::right_to_left("\u{5e9}\u{5dc}\u{5d5}\u{5dd}", Some("\u{5e9}\u{5dc}\u{5d5}\u{5dd}"))]
    #[case::empty("", None)]
    #[case::space("kim lee", None)]
    #[case::no_break_space("kim\u{a0}lee", None)]
    #[case::control("ki\0m", None)]
    #[case::byte_order_mark("\u{feff}kim", None)]
    #[case::invisible("kim\u{200b}", None)]
    #[case::bidi_control("kim\u{202e}", None)]
    fn login_is_normalized_or_refused(#[case] typed: &str, #[case] expected: Option<&str>) {
        let normalized = login(typed);
        assert_eq!(normalized.as_deref(), expected);
        assert_eq!(normalized.as_deref().and_then(login), normalized, "idempotent");
    }

    #[rstest]
    #[case::decomposed("cafe\u{301} creme", Some("caf\u{e9} creme"))]
    #[case::decomposed_hangul("\u{1107}\u{1175}", Some("\u{be44}"))]
    #[case::no_break_space("correct\u{a0}horse", Some("correct horse"))]
    #[case::case_matters("Correct Horse", Some("Correct Horse"))]
    #[case::spaces_stay(" correct  horse ", Some(" correct  horse "))]
    #[case::new_in_unicode_11("\u{1f970} horse", Some("\u{1f970} horse"))]
    #[case::joined("\u{1f469}\u{200d}\u{1f4bb}", Some("\u{1f469}\u{200d}\u{1f4bb}"))]
    #[case::byte_order_mark("\u{feff}correct horse", None)]
    #[case::tab("correct\thorse", None)]
    #[case::bidi_control("correct\u{202e}horse", None)]
    fn password_is_normalized_or_refused(#[case] typed: &str, #[case] expected: Option<&str>) {
        assert_eq!(password(typed).as_deref(), expected);
    }

    #[rstest]
    #[case::text("Kim", true)]
    #[case::joined_picture("\u{1f469}\u{200d}\u{1f4bb}", true)]
    #[case::spaces(" \u{a0}\u{3000}", false)]
    #[case::zero_width("\u{200b}\u{2060}\u{feff}", false)]
    #[case::hangul_filler("\u{3164}", false)]
    #[case::braille_blank("\u{2800}", false)]
    #[case::soft_hyphen("\u{ad}", false)]
    #[case::tags("\u{e0041}", false)]
    fn text_is_visible_if_any_character_is(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_visible(text), expected);
    }
}
