//! Protection against server-side request forgery (SSRF): only public addresses are connected to, unless the operator
//! allows private ones.
//!
//! Without it, a caller that may name a destination could make the service connect to hosts that only the service can
//! reach: its database, or the metadata service of a cloud, which hands out credentials. The resolver looks up the
//! host, checks the addresses, and passes exactly those to the connector, so that DNS rebinding, a second lookup with
//! another result, has no effect.

use crate::error::OutboundError;
use commerce_core::sync::Mutex;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The time for which a lookup is cached. The client resolves the host for every request, even on an open connection:
/// hundreds of times a second.
const CACHE_TIME: Duration = Duration::from_secs(5);

/// Resolves one host to the addresses that may be connected to.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    allow_private: bool,
    inner: DefaultResolver,
    cached: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl CheckedResolver {
    /// Creates a resolver for the host of a URL. A host that names this machine, or is an address that is not allowed,
    /// is refused at once.
    pub(crate) fn for_host(uri: &Uri, allow_private: bool) -> Result<Self, OutboundError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        if !allow_private && is_legacy_ipv4(host) {
            return Err(OutboundError::Url("its host is a number: write it like 192.0.2.1"));
        }
        let public =
            host.parse().map_or(host != "localhost" && !host.ends_with(".localhost"), is_public);
        if !public && !allow_private {
            return Err(OutboundError::PrivateAddress);
        }
        Ok(Self { allow_private, inner: DefaultResolver::default(), cached: Mutex::new(None) })
    }

    /// Returns those of the addresses that may be connected to.
    fn allowed(&self, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Error> {
        let is_allowed = |address: &SocketAddr| self.allow_private || is_public(address.ip());
        let allowed: Vec<SocketAddr> = addresses.iter().copied().filter(is_allowed).collect();
        if allowed.is_empty() {
            let refused = "the host has only private addresses, which the operator has to allow";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
        }
        Ok(allowed)
    }
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let cached = self.cached.lock().clone();
        let allowed = match cached {
            Some((at, allowed)) if at.elapsed() < CACHE_TIME => allowed,
            _ => {
                let allowed = self.allowed(&self.inner.resolve(uri, config, timeout)?)?;
                let cached = Some((Instant::now(), allowed.clone()));
                *self.cached.lock() = cached;
                allowed
            }
        };
        let mut addresses = self.empty();
        for address in allowed {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Returns true if the host is an IPv4 address in a legacy form that systems accept besides four decimal numbers:
/// `127.1`, `2130706433`, `0x7f.0.0.1`. No host name ends in a number.
fn is_legacy_ipv4(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let (digits, radix) = last.strip_prefix("0x").map_or((last, 10), |hex| (hex, 16));
    let is_number =
        (!digits.is_empty() || radix == 16) && digits.chars().all(|c| c.is_digit(radix));
    is_number && host.parse::<IpAddr>().is_err()
}

/// Returns true if the address is a public unicast address: not one of this machine, a private network or a multicast
/// group, and no other notation for such an address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Excludes IANA's registry of special-purpose addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..] // this network, private, loopback; multicast and reserved
            | [100, 64..=127, ..] // carrier-grade NAT
            | [169, 254, ..] // link-local: metadata services of clouds
            | [168, 63, 129, 16] // Azure's platform, though it looks public
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _] // protocol assignments, documentation
            | [192, 88, 99, _] // 6to4 relays
            | [198, 18 | 19, ..] // benchmarking
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Includes only global unicast addresses, without those that embed other addresses. IPv4-mapped and NAT64 addresses
/// are no global unicast addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x1ff | 0xdb8, ..] // Teredo and other protocols, documentation
        | [0x2002, ..] // 6to4: an IPv4 address inside
        | [0x3fff, 0..=0xfff, ..] => false, // documentation
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("8.8.8.8", true)]
    #[case("100.63.255.255", true)]
    #[case("172.32.0.1", true)]
    #[case("223.255.255.255", true)]
    #[case("0.0.0.0", false)]
    #[case("10.0.0.1", false)]
    #[case("100.64.0.1", false)]
    #[case("100.100.100.200", false)]
    #[case("127.0.0.1", false)]
    #[case("127.255.255.254", false)]
    #[case("168.63.129.16", false)]
    #[case("169.254.169.254", false)]
    #[case("172.16.0.1", false)]
    #[case("172.31.255.255", false)]
    #[case("192.0.0.8", false)]
    #[case("192.0.2.1", false)]
    #[case("192.88.99.1", false)]
    #[case("192.168.1.1", false)]
    #[case("198.19.0.1", false)]
    #[case("198.51.100.1", false)]
    #[case("203.0.113.1", false)]
    #[case("224.0.0.1", false)]
    #[case("255.255.255.255", false)]
    #[case("2606:4700:4700::1111", true)]
    #[case("2001:200::1", true)]
    #[case("::", false)]
    #[case("::1", false)]
    #[case("::127.0.0.1", false)]
    #[case("::ffff:127.0.0.1", false)]
    #[case("::ffff:8.8.8.8", false)]
    #[case("64:ff9b::7f00:1", false)]
    #[case("64:ff9b:1::1", false)]
    #[case("100::1", false)]
    #[case("2001::1", false)]
    #[case("2001:db8::1", false)]
    #[case("2002:7f00:1::", false)]
    #[case("3fff::1", false)]
    #[case("fc00::1", false)]
    #[case("fd00:ec2::254", false)]
    #[case("fe80::1", false)]
    #[case("fec0::1", false)]
    #[case("ff02::1", false)]
    fn is_public_excludes_special_purpose_addresses(#[case] address: IpAddr, #[case] public: bool) {
        assert_eq!(is_public(address), public);
    }

    #[rstest]
    #[case("https://shop.example/hook", true)]
    #[case("https://8.8.8.8/", true)]
    #[case("https://localhost/", false)]
    #[case("https://LOCALHOST.:8080/", false)]
    #[case("https://a.localhost/", false)]
    #[case("http://127.0.0.1:9/", false)]
    #[case("http://[::1]:9/", false)]
    #[case("http://[::ffff:10.0.0.1]/", false)]
    #[case("http://169.254.169.254/latest/meta-data/", false)]
    #[case("http://127.1/", false)]
    #[case("http://127.1.:9/", false)]
    #[case("http://2130706433/", false)]
    #[case("http://134744072/", false)]
    #[case("http://0x7f000001/", false)]
    #[case("http://0X7F.0.0.1/", false)]
    #[case("http://127.0.0.0x1/", false)]
    #[case("http://0177.0.0.1/", false)]
    #[case("http://1.2.3.4.5/", false)]
    #[case("http://4.example/", true)]
    #[case("http://0xa.example/", true)]
    fn private_host_is_refused_unless_allowed(#[case] uri: Uri, #[case] allowed: bool) {
        assert_eq!(CheckedResolver::for_host(&uri, false).is_ok(), allowed);
        assert!(CheckedResolver::for_host(&uri, true).is_ok());
    }

    /// Notations of 127.0.0.1 that are no address until they are resolved.
    #[rstest]
    #[case("http://127.1/")]
    #[case("http://2130706433/")]
    #[case("http://0x7f.0.0.1/")]
    #[case("http://0177.0.0.1/")]
    fn host_that_resolves_to_loopback_is_not_connected_to(#[case] uri: Uri) {
        let name = Uri::from_static("https://shop.example");
        let resolver = CheckedResolver::for_host(&name, false).unwrap();
        let addresses = resolver.resolve(&uri, &Config::default(), NextTimeout::default());
        assert!(addresses.unwrap_err().to_string().contains("private"));
    }

    #[test]
    fn only_public_addresses_of_a_mixed_host_are_used() {
        let resolver =
            CheckedResolver::for_host(&Uri::from_static("https://two.example"), false).unwrap();
        let (private, public) = ("10.0.0.1:443".parse().unwrap(), "8.8.8.8:443".parse().unwrap());
        assert_eq!(resolver.allowed(&[private, public]).unwrap(), [public]);
        let refused = resolver.allowed(&[private]).unwrap_err().to_string();
        assert!(refused.contains("private"), "{refused}");
    }
}
