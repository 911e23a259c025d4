//! Where the server is and how it is reached, from the URL: its settings, and what TLS is to prove.

use super::tls::{self, Trust};
use crate::StoreError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long to try one server before the next one of the URL.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// From when a peer that says nothing is asked whether it is still there, and for how long it may leave
/// what was sent unconfirmed.
const KEEPALIVE: Duration = Duration::from_secs(5);
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A server and a database on it. Shown, it leaves the password out.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Place {
    /// The place that a URL names. What is told of a wrong one leaves its text out.
    pub(super) fn at(url: &str) -> Result<Self, StoreError> {
        let (url, trust) = without_tls(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| error.to_string());
            StoreError::Unavailable(format!("the URL of the server is not understood: {reason}"))
        })?;
        config.ssl_mode(trust.mode());
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNCONFIRMED);
        }
        if config.get_application_name().is_none() {
            config.application_name("commerce");
        }
        Ok(Self { config, tls: tls::connector(&trust)? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let ports = self.config.get_ports();
        let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(5_432);
        let hosts = hosts.enumerate().map(|(place, host)| format!("{host}:{}", port(place)));
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{}/{database}", hosts.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.to_string()).finish()
    }
}

/// The URL without what it says of TLS, of which the driver knows only a part, and what that was.
fn without_tls(url: &str) -> Result<(String, Trust), StoreError> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => roots = Some(PathBuf::from(value)),
            _ => rest.push(part),
        }
    }
    let roots = roots.filter(|path| path.as_os_str() != "system");
    let trust = match mode {
        Some("disable") => Trust::NoTls,
        None | Some("allow" | "prefer") => Trust::Anyone(SslMode::Prefer),
        // As with PostgreSQL's own programs: whoever names roots wants them asked.
        Some("require") if roots.is_none() => Trust::Anyone(SslMode::Require),
        Some("require" | "verify-ca" | "verify-full") => Trust::Roots(roots),
        Some(_) => {
            let text = "sslmode is disable, prefer, require, verify-ca or verify-full";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
    };
    let rest = rest.join("&");
    Ok((if rest.is_empty() { place.to_owned() } else { format!("{place}?{rest}") }, trust))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("postgres://shop:secret@db.example/shop", SslMode::Prefer)]
    #[case::none("postgres://shop:secret@db/shop?sslmode=disable", SslMode::Disable)]
    #[case::encrypted("postgres://shop:secret@db/shop?sslmode=require", SslMode::Require)]
    #[case::proven(
        "postgresql://shop:secret@a:1,b:2/shop?sslmode=verify-full&target_session_attrs=read-write",
        SslMode::Require
    )]
    #[case::socket("postgres:///shop?host=/tmp&user=shop&password=secret", SslMode::Prefer)]
    fn places_keep_their_secret(#[case] url: &str, #[case] mode: SslMode) {
        let place = Place::at(url).unwrap();
        assert_eq!(place.config.get_ssl_mode(), mode);
        assert_eq!(place.config.get_password(), Some(&b"secret"[..]));
        assert!(!format!("{place} {place:?}").contains("secret"));
    }

    #[rstest]
    #[case("postgres://shop:secret@db/shop?sslmode=secret")]
    #[case("postgres://shop:secret@db:secret/shop")]
    #[case("postgres://shop:secret@db/shop?connect_timeout=secret")]
    #[case("postgres://shop:secret@db/shop?sslmode=verify-full&sslrootcert=/no/such/file")]
    fn what_is_told_of_a_wrong_url_leaves_it_out(#[case] url: &str) {
        assert!(!Place::at(url).unwrap_err().to_string().contains("secret"));
    }
}
