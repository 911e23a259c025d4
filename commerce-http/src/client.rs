//! The client of a request, for a fair share of logins and for the log: the peer, or the client that a trusted proxy
//! reports.

use crate::message::Request;
use commerce_core::Client;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A proxy that is believed in `Forwarded` and `X-Forwarded-For`. Any other peer could put any address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every client of a Unix socket.
    Unix,
    /// The addresses of a network.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// The number of leading bits that all its addresses share.
        prefix: u8,
    },
}

/// A text that is neither `unix` nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTrustedProxyError;

impl fmt::Display for ParseTrustedProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a trusted proxy is written 10.0.0.7, 10.0.0.0/8, 2001:db8::/48, or unix for the clients of a Unix socket",
        )
    }
}

impl std::error::Error for ParseTrustedProxyError {}

impl FromStr for TrustedProxy {
    type Err = ParseTrustedProxyError;

    fn from_str(text: &str) -> Result<Self, ParseTrustedProxyError> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| ParseTrustedProxyError)?;
        let max_prefix = if address.is_ipv4() { 32 } else { 128 };
        let prefix =
            prefix.map_or(Ok(max_prefix), str::parse).map_err(|_| ParseTrustedProxyError)?;
        if prefix > max_prefix {
            return Err(ParseTrustedProxyError);
        }
        Ok(Self::Network { address, prefix })
    }
}

/// Returns true if a peer is a trusted proxy; `None` is a client of a Unix socket.
fn is_trusted(peer: Option<IpAddr>, trusted: &[TrustedProxy]) -> bool {
    trusted.iter().any(|proxy| proxy.is_at(peer))
}

impl TrustedProxy {
    fn is_at(self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (Self::Unix, None) => true,
            (Self::Network { address, prefix }, Some(peer)) => {
                let (width, difference) = match (address, peer) {
                    (IpAddr::V4(address), IpAddr::V4(peer)) => {
                        (32_u32, u128::from(address.to_bits() ^ peer.to_bits()))
                    }
                    (IpAddr::V6(address), IpAddr::V6(peer)) => {
                        (128, address.to_bits() ^ peer.to_bits())
                    }
                    _ => return false,
                };
                let free_bits = width.saturating_sub(prefix.into());
                difference.checked_shr(free_bits).is_none_or(|different| different == 0)
            }
            _ => false,
        }
    }
}

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// `None` is a client of a Unix socket that no proxy reports.
    address: Option<IpAddr>,
    pub(crate) source: AddressSource,
}

/// The origin of the address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// The connection.
    Peer,
    /// A header of a trusted proxy.
    Forwarded,
    /// The connection, although the request names another client: its peer is not trusted, or the headers name no
    /// address, or two. Many of these are a sign that a proxy is not configured as trusted.
    Ignored,
}

impl AddressSource {
    pub(crate) const ALL: [Self; 3] = [Self::Peer, Self::Forwarded, Self::Ignored];

    /// The name in the log and in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Forwarded => "forwarded",
            Self::Ignored => "ignored",
        }
    }
}

impl ClientAddress {
    /// The client of a request: of the addresses that trusted proxies report, the nearest that is no trusted proxy.
    pub(crate) fn of(request: &Request, trusted: &[TrustedProxy]) -> Self {
        let peer = request.peer.map(|peer| peer.to_canonical());
        let lists: [(Vec<&str>, ParseEntry); 2] = [
            (request.values("Forwarded").collect(), forwarded_for),
            (request.values("X-Forwarded-For").collect(), node),
        ];
        let reports = lists.iter().filter(|(lines, _)| !lines.is_empty());
        let reports: Vec<_> =
            reports.map(|(lines, parse)| nearest_untrusted(lines, *parse, trusted)).collect();
        let (address, source) = match reports[..] {
            [] => (peer, AddressSource::Peer),
            _ if !is_trusted(peer, trusted) => (peer, AddressSource::Ignored),
            [Some(client)] => (Some(client), AddressSource::Forwarded),
            // A proxy that sets one of the headers may pass on the other one as its client sent it.
            [Some(one), Some(other)] if one == other => (Some(one), AddressSource::Forwarded),
            _ => (peer, AddressSource::Ignored),
        };
        Self { address, source }
    }

    /// The client for the fair share of logins. An IPv6 address counts with its /64, all of which one host may use.
    pub(crate) fn client(self) -> Client {
        match self.address {
            None => Client::default(),
            Some(IpAddr::V4(address)) => Client::new(address.to_ipv6_mapped().to_bits()),
            Some(IpAddr::V6(address)) => Client::new(address.to_bits() & !u128::from(u64::MAX)),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => f.write_str("unix"),
            Some(address) => address.fmt(f),
        }
    }
}

type ParseEntry = fn(&str) -> Option<IpAddr>;

/// The last address of a header that is no trusted proxy, or else the first address. `None` if an entry up to it is no
/// address.
///
/// Each proxy appends the peer that it saw. The entries before it may have been sent by the client and are not parsed:
/// a quotation mark there must not hide the others.
fn nearest_untrusted(
    lines: &[&str],
    parse: ParseEntry,
    trusted: &[TrustedProxy],
) -> Option<IpAddr> {
    let mut nearest = None;
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let address = parse(entry)?;
        nearest = Some(address);
        if !is_trusted(nearest, trusted) {
            break;
        }
    }
    nearest
}

/// The address in an entry of `Forwarded` (RFC 7239), such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(entry: &str) -> Option<IpAddr> {
    let mut pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    node(value.trim_matches('"'))
}

/// An address, perhaps with a port. Obfuscated names (`_hidden`, `unknown`) have none.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "2001:db8:1::/48", "unix"];
    const CLIENT: &str = "203.0.113.7";

    fn client(peer: Option<&str>, headers: &[(&str, &str)]) -> ClientAddress {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let request = Request {
            peer: peer.map(|peer| peer.parse().unwrap()),
            headers: headers.collect(),
            ..Request::default()
        };
        ClientAddress::of(&request, &PROXIES.map(|proxy| proxy.parse().unwrap()))
    }

    #[rstest]
    #[case::one(&[("X-Forwarded-For", CLIENT)])]
    #[case::with_port(&[("X-Forwarded-For", "203.0.113.7:50123")])]
    #[case::mapped(&[("X-Forwarded-For", "::ffff:203.0.113.7")])]
    #[case::after_spoofed(&[("X-Forwarded-For", "192.0.2.1, garbage, 203.0.113.7")])]
    #[case::after_a_spoofed_line(&[("X-Forwarded-For", "192.0.2.1"), ("x-forwarded-for", CLIENT)])]
    #[case::before_proxies(&[("X-Forwarded-For", "192.0.2.1, 203.0.113.7, 10.1.1.1, 10.2.2.2")])]
    #[case::forwarded(&[("Forwarded", "for=203.0.113.7;proto=https;by=10.0.0.1")])]
    #[case::forwarded_last(&[("Forwarded", "proto=https; For=\"203.0.113.7:4711\"")])]
    #[case::after_an_open_quote(&[("Forwarded", "for=\"192.0.2.1, for=203.0.113.7")])]
    #[case::both(&[("X-Forwarded-For", CLIENT), ("Forwarded", "for=203.0.113.7")])]
    fn nearest_address_before_trusted_proxies_is_the_client(
        #[case] headers: &[(&str, &str)],
        #[values(Some("10.0.0.1"), Some("::ffff:10.0.0.1"), Some("2001:db8:1::7"), None)]
        peer: Option<&str>,
    ) {
        let seen = client(peer, headers);
        assert_eq!((seen.to_string().as_str(), seen.source), (CLIENT, AddressSource::Forwarded));
    }

    #[test]
    fn client_inside_a_trusted_network_is_the_first_address() {
        let seen = client(None, &[("X-Forwarded-For", "10.9.9.9, 10.1.1.1")]);
        assert_eq!(
            (seen.to_string().as_str(), seen.source),
            ("10.9.9.9", AddressSource::Forwarded)
        );
    }

    #[rstest]
    #[case::untrusted(Some("192.0.2.9"), &[("X-Forwarded-For", CLIENT)], "192.0.2.9")]
    #[case::next_to_the_network(Some("11.0.0.1"), &[("Forwarded", "for=203.0.113.7")], "11.0.0.1")]
    #[case::disagreeing(None, &[("X-Forwarded-For", CLIENT), ("Forwarded", "for=192.0.2.1")], "unix")]
    #[case::one_is_no_address(None, &[("X-Forwarded-For", CLIENT), ("Forwarded", "for=_x")], "unix")]
    #[case::hidden(Some("10.0.0.1"), &[("Forwarded", "for=_hidden")], "10.0.0.1")]
    #[case::hidden_before_a_proxy(None, &[("X-Forwarded-For", "unknown, 10.1.1.1")], "unix")]
    #[case::empty(None, &[("X-Forwarded-For", "")], "unix")]
    fn header_that_cannot_be_believed_is_ignored(
        #[case] peer: Option<&str>,
        #[case] headers: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let seen = client(peer, headers);
        assert_eq!((seen.to_string().as_str(), seen.source), (expected, AddressSource::Ignored));
    }

    #[test]
    fn client_without_a_header_is_its_peer() {
        for (peer, expected) in [(Some("10.0.0.1"), "10.0.0.1"), (None, "unix")] {
            let seen = client(peer, &[]);
            assert_eq!((seen.to_string().as_str(), seen.source), (expected, AddressSource::Peer));
        }
    }

    #[test]
    fn ipv6_addresses_of_a_64_are_one_client() {
        let [one, near, far, v4, other_v4] =
            ["2001:db8::1", "2001:db8::2:0:0:1", "2001:db8:0:1::1", CLIENT, "203.0.113.8"]
                .map(|peer| client(Some(peer), &[]).client());
        assert_eq!(one, near);
        assert!(one != far && v4 != other_v4 && one != v4);
        assert_eq!(v4, client(Some("::ffff:203.0.113.7"), &[]).client());
    }

    #[rstest]
    #[case("0.0.0.0/0", Some("198.51.100.1"), true)]
    #[case("0.0.0.0/0", Some("2001:db8::1"), false)]
    #[case("192.0.2.128/25", Some("192.0.2.255"), true)]
    #[case("192.0.2.128/25", Some("192.0.2.127"), false)]
    #[case("192.0.2.1", Some("192.0.2.1"), true)]
    #[case("192.0.2.1", Some("192.0.2.2"), false)]
    #[case("::/0", Some("2001:db8::1"), true)]
    #[case("2001:db8::/33", Some("2001:db8:8000::1"), false)]
    #[case("::1", None, false)]
    #[case("unix", None, true)]
    #[case("unix", Some("::1"), false)]
    fn trusted_proxy_is_a_network(
        #[case] text: &str,
        #[case] peer: Option<&str>,
        #[case] is: bool,
    ) {
        let proxy: TrustedProxy = text.parse().unwrap();
        assert_eq!(proxy.is_at(peer.map(|peer| peer.parse().unwrap())), is);
    }

    #[rstest]
    fn text_that_is_no_network_is_refused(
        #[values(
            "",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::/129",
            "proxy.example",
            "unix:",
            "1.1.1.1/"
        )]
        text: &str,
    ) {
        assert_eq!(text.parse::<TrustedProxy>(), Err(ParseTrustedProxyError));
    }
}
