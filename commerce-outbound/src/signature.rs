//! Request signatures: HMAC-SHA256, in the formats of Standard Webhooks and Stripe.

use crate::error::OutboundError;
use crate::secrets::lines;
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use commerce_core::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The largest difference in seconds between the clocks of signer and verifier, as Stripe and Standard Webhooks advise.
/// It bounds replays of a captured request.
const TOLERANCE: i64 = 5 * 60;

/// Accepts base64 with and without padding, since secrets come in both forms.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shared secret. Its `Debug` output does not contain it.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Parses each line with [`Secret::standard`], the newest first.
    pub(crate) fn all_standard(text: &str) -> Result<Vec<Self>, OutboundError> {
        Self::all(text, Self::standard)
    }

    /// Parses each line with [`Secret::stripe`].
    pub(crate) fn all_stripe(text: &str) -> Result<Vec<Self>, OutboundError> {
        Self::all(text, Self::stripe)
    }

    fn all(
        text: &str,
        one: fn(&str) -> Result<Self, OutboundError>,
    ) -> Result<Vec<Self>, OutboundError> {
        let secrets = lines(text).map(one).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() { one("").map(|secret| vec![secret]) } else { Ok(secrets) }
    }

    /// Parses a secret of Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes.
    pub(crate) fn standard(text: &str) -> Result<Self, OutboundError> {
        let encoded = text.trim().strip_prefix("whsec_");
        let encoded = encoded.ok_or(OutboundError::Secret("it must begin with whsec_"))?;
        let bytes = ANY_PADDING.decode(encoded);
        let bytes =
            bytes.map_err(|_| OutboundError::Secret("after whsec_ there must be base64"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(OutboundError::Secret("it must stand for 24 to 64 bytes"));
        }
        Self::of(&bytes)
    }

    /// Parses a secret of Stripe: the text itself is the key.
    pub(crate) fn stripe(text: &str) -> Result<Self, OutboundError> {
        let text = text.trim();
        if text.len() < 16 {
            return Err(OutboundError::Secret("it must have 16 characters or more"));
        }
        Self::of(text.as_bytes())
    }

    fn of(bytes: &[u8]) -> Result<Self, OutboundError> {
        let hmac = Hmac::new_from_slice(bytes);
        hmac.map(Self).map_err(|_| OutboundError::Secret("it has no use as a key"))
    }

    /// Returns a signature for the header `webhook-signature` of Standard Webhooks, which holds one for each secret,
    /// separated by spaces.
    pub(crate) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let head = format!("{id}.{}.", at.unix());
        let hmac = self.0.clone().chain_update(head).chain_update(body);
        format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
    }

    /// Verifies the header `Stripe-Signature`: one of its signatures has to match, and its time has to be recent.
    pub(crate) fn verify_stripe(
        &self,
        header: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let mut stamps = parts().filter(|(name, _)| *name == "t").map(|(_, value)| value);
        let (Some(stamp), None) = (stamps.next(), stamps.next()) else {
            return Err("its signature has no time");
        };
        let hmac = self.0.clone().chain_update(stamp).chain_update(".").chain_update(body);
        let matches =
            |hex: &str| bytes(hex).is_some_and(|bytes| hmac.clone().verify_slice(&bytes).is_ok());
        if !parts().any(|(name, value)| name == "v1" && matches(value)) {
            return Err("its signature does not match");
        }
        let stamp: i64 = stamp.parse().map_err(|_| "its signature has no time")?;
        if now.unix().abs_diff(stamp) > TOLERANCE.unsigned_abs() {
            return Err("its signature is not recent");
        }
        Ok(())
    }
}

/// Decodes hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The test vector of the libraries of Standard Webhooks.
    #[test]
    fn signature_matches_the_standard_webhooks_test_vector() {
        let secret = Secret::standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_unix(1_614_265_330);
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[rstest]
    #[case("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", true)]
    #[case("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", true)]
    #[case("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", true)]
    #[case("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false)]
    #[case("whsec_", false)]
    #[case("whsec_c2hvcnQ=", false)]
    #[case("whsec_not base64", false)]
    fn standard_secret_requires_prefix_and_length(#[case] text: &str, #[case] is_valid: bool) {
        let secret = Secret::standard(text);
        assert_eq!(secret.is_ok(), is_valid);
        let shown = format!("{secret:?}");
        assert!(text.len() < 8 || !shown.contains(&text[6..12]), "{shown}");
    }

    const NOW: i64 = 1_800_000_000;

    impl Secret {
        /// Returns the header that Stripe would send.
        pub(crate) fn sign_as_stripe(&self, at: Timestamp, body: &[u8]) -> String {
            format!("t={0},v1={1}", at.unix(), self.hex(&at.unix().to_string(), body))
        }

        fn hex(&self, stamp: &str, body: &[u8]) -> String {
            let hmac = self.0.clone().chain_update(stamp).chain_update(".").chain_update(body);
            let bytes = hmac.finalize().into_bytes();
            bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
        }
    }

    /// The signature comes from Python's hmac, so that the test does not repeat a mistake of the code.
    #[test]
    fn stripe_signature_of_another_implementation_is_accepted() {
        let header =
            "t=1800000000,v1=7c22178140f825fd97e0d1e75da95f3b95405c8d3471eeadebcfb6f78b5d84f7";
        let secret = Secret::stripe("whsec_test_secret_of_stripe").unwrap();
        let now = Timestamp::from_unix(NOW);
        assert_eq!(secret.verify_stripe(header, br#"{"id":"evt_1"}"#, now), Ok(()));
    }

    #[rstest]
    #[case::right("t={now},v1={right}", true)]
    #[case::spaced("t={now}, v1={right}, v0=00", true)]
    #[case::one_of_several("v1={wrong},v1={right},t={now}", true)]
    #[case::at_the_edge("t={early},v1={right_early}", true)]
    #[case::too_old("t={old},v1={right_old}", false)]
    #[case::of_the_future("t={late},v1={right_late}", false)]
    #[case::of_another_time("t={early},v1={right}", false)]
    #[case::two_times("t={now},t={early},v1={right}", false)]
    #[case::wrong("t={now},v1={wrong}", false)]
    #[case::old_scheme_only("t={now},v0={right}", false)]
    #[case::not_hexadecimal("t={now},v1=zz", false)]
    #[case::cut("t={now},v1=abc", false)]
    #[case::without_time("v1={right}", false)]
    #[case::time_is_no_number("t=now,v1={right_word}", false)]
    #[case::empty("", false)]
    fn only_a_matching_and_recent_stripe_signature_is_accepted(
        #[case] header: &str,
        #[case] is_valid: bool,
    ) {
        let (secret, body) = (Secret::stripe("whsec_0123456789abcdef").unwrap(), b"{}");
        let at = |offset: i64| (NOW + offset).to_string();
        let stamps = [("now", at(0)), ("early", at(-300)), ("old", at(-301)), ("late", at(301))];
        let mut text = header.replace("{wrong}", &"0".repeat(64));
        text = text.replace("{right}", &secret.hex(&at(0), body));
        text = text.replace("{right_word}", &secret.hex("now", body));
        for (name, stamp) in stamps {
            text = text.replace(&format!("{{right_{name}}}"), &secret.hex(&stamp, body));
            text = text.replace(&format!("{{{name}}}"), &stamp);
        }
        let checked = secret.verify_stripe(&text, body, Timestamp::from_unix(NOW));
        assert_eq!(checked.is_ok(), is_valid, "{text}: {checked:?}");
    }
}
