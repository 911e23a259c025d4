//! Which addresses may be sent to: those of the internet, unless the operator allows others.
//!
//! Whoever may name a destination could otherwise make the service talk to what only it can reach: the
//! database beside it, or the cloud's machine that hands out credentials. The name of a host is looked up
//! here, what it leads to is checked here, and just that is connected to: a name that leads elsewhere the
//! next time gains nothing.

use crate::error::OutboundError;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// For how long a name is not looked up again. The client looks up for every request, also when it has a
/// connection: hundreds of times a second.
const REMEMBER: Duration = Duration::from_secs(5);

/// Looks up the name of one host, and lets through what may be connected to.
#[derive(Debug)]
pub(crate) struct Resolve {
    allow_private: bool,
    inner: DefaultResolver,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Resolve {
    /// For the host of that address, which is refused at once when it names this machine or is an
    /// address that is not allowed.
    pub(crate) fn for_host(uri: &Uri, allow_private: bool) -> Result<Self, OutboundError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        if !allow_private && is_old_form(host) {
            return Err(OutboundError::Url("its host is a number: write it like 192.0.2.1"));
        }
        let public =
            host.parse().map_or(host != "localhost" && !host.ends_with(".localhost"), is_public);
        if !public && !allow_private {
            return Err(OutboundError::PrivateAddress);
        }
        Ok(Self { allow_private, inner: DefaultResolver::default(), known: Mutex::new(None) })
    }

    /// Those of the addresses that may be connected to.
    fn allowed(&self, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, Error> {
        let may = |address: &SocketAddr| self.allow_private || is_public(address.ip());
        let allowed: Vec<SocketAddr> = found.iter().copied().filter(may).collect();
        if allowed.is_empty() {
            let refused = "the host has only private addresses, which have to be allowed \
                           (--allow-private, with serve --events-allow-private)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
        }
        Ok(allowed)
    }
}

impl Resolver for Resolve {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let allowed = match known {
            Some((at, allowed)) if at.elapsed() < REMEMBER => allowed,
            _ => {
                let allowed = self.allowed(&self.inner.resolve(uri, config, timeout)?)?;
                let known = Some((Instant::now(), allowed.clone()));
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
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

/// Whether the host is one of the forms that systems read as an IPv4 address besides four decimal numbers:
/// `127.1`, `2130706433`, `0x7f.0.0.1`. No name ends in a number.
fn is_old_form(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let (digits, radix) = last.strip_prefix("0x").map_or((last, 10), |hex| (hex, 16));
    let is_number =
        (!digits.is_empty() || radix == 16) && digits.chars().all(|c| c.is_digit(radix));
    is_number && host.parse::<IpAddr>().is_err()
}

/// Whether the address belongs to the internet at large: neither to this machine, this network or a group,
/// nor a way to such an address by another name.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// All but what IANA's registry of special addresses names.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..] // this network, private, this machine; groups and reserved
            | [100, 64..=127, ..] // behind a carrier's translation
            | [169, 254, ..] // link-local: where clouds hand out credentials
            | [168, 63, 129, 16] // Azure's own, though it looks public
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _] // protocols, documentation
            | [192, 88, 99, _] // relays from IPv6
            | [198, 18 | 19, ..] // measuring
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Only what is given out as global unicast, and of that nothing that leads to other addresses. IPv4 in
/// other clothes (mapped, NAT64) lies outside of it.
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
    fn only_the_internet_is_public(#[case] address: IpAddr, #[case] public: bool) {
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
    fn what_lies_inside_is_refused_at_once(#[case] uri: Uri, #[case] allowed: bool) {
        assert_eq!(Resolve::for_host(&uri, false).is_ok(), allowed);
        assert!(Resolve::for_host(&uri, true).is_ok());
    }

    /// Ways to write 127.0.0.1 that are no address until they are looked up.
    #[rstest]
    #[case("http://127.1/")]
    #[case("http://2130706433/")]
    #[case("http://0x7f.0.0.1/")]
    #[case("http://0177.0.0.1/")]
    fn what_leads_inside_is_not_connected_to(#[case] uri: Uri) {
        let name = Uri::from_static("https://shop.example");
        let resolve = Resolve::for_host(&name, false).unwrap();
        let found = resolve.resolve(&uri, &Config::default(), NextTimeout::default());
        assert!(found.unwrap_err().to_string().contains("private"));
    }

    #[test]
    fn a_name_that_leads_both_ways_leads_outside_only() {
        let resolve = Resolve::for_host(&Uri::from_static("https://two.example"), false).unwrap();
        let (inside, outside) = ("10.0.0.1:443".parse().unwrap(), "8.8.8.8:443".parse().unwrap());
        assert_eq!(resolve.allowed(&[inside, outside]).unwrap(), [outside]);
        let refused = resolve.allowed(&[inside]).unwrap_err().to_string();
        assert!(refused.contains("--allow-private"), "{refused}");
    }
}
