//! Connection options from the URL: servers, TLS verification, timeouts, and durability.

use crate::jitter::random_byte;
use crate::tls::{self, TlsTrust};
use commerce_core::StoreError;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The timeout of connecting to one server of the URL, including the handshakes, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The idle time and the interval of TCP keepalive probes.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The timeout of unacknowledged data (`TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The servers of a URL and a database on them. `Display` and `Debug` omit the password.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    /// Refuses a server with settings that lose acknowledged commits in a power failure.
    pub(crate) durable: bool,
}

impl ConnectOptions {
    /// Parses a URL. No error contains its text.
    pub(crate) fn at(url: &str) -> Result<Self, StoreError> {
        if is_ambiguous(url) {
            let text = "the host of the URL is ambiguous: in a user or a password write %40 for @ and %3F \
                        for ?";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
        let ParsedUrl { url, trust, durable } = split_own_options(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| error.to_string());
            StoreError::Unavailable(format!("the URL of the server is invalid: {reason}"))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let text = "the URL names no server: write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
        config.ssl_mode(trust.mode());
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("commerce");
        }
        Ok(Self { config, tls: tls::connector(&trust)?, durable })
    }

    /// Returns each server of the URL by itself, in the order in which they are tried. The driver would try all in
    /// one call, and wait for ever for a first one that accepts connections and does not respond.
    pub(crate) fn servers(&self) -> Vec<Config> {
        let count = self.count();
        let mut servers: Vec<_> = (0..count).map(|index| self.server(index)).collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            servers.rotate_left(usize::from(random_byte()).checked_rem(count).unwrap_or(0));
        }
        servers
    }

    /// Returns true if a server has a host name, which must be resolved.
    pub(crate) fn has_names(&self) -> bool {
        let is_name =
            |host: &Host| matches!(host, Host::Tcp(name) if name.parse::<IpAddr>().is_err());
        self.config.get_hostaddrs().is_empty() && self.config.get_hosts().iter().any(is_name)
    }

    fn count(&self) -> usize {
        self.config.get_hosts().len().max(self.config.get_hostaddrs().len())
    }

    fn server(&self, index: usize) -> Config {
        let all = &self.config;
        let mut one = Config::new();
        match all.get_hosts().get(index) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = all.get_hostaddrs().get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(index).or(all.get_ports().first()) {
            one.port(*port);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(name) = all.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        if let Some(name) = all.get_application_name() {
            one.application_name(name);
        }
        if let Some(time) = all.get_connect_timeout() {
            one.connect_timeout(*time);
        }
        if let Some(time) = all.get_tcp_user_timeout() {
            one.tcp_user_timeout(*time);
        }
        if let Some(interval) = all.get_keepalives_interval() {
            one.keepalives_interval(interval);
        }
        if let Some(retries) = all.get_keepalives_retries() {
            one.keepalives_retries(retries);
        }
        one.ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .target_session_attrs(all.get_target_session_attrs())
            .channel_binding(all.get_channel_binding())
            .load_balance_hosts(all.get_load_balance_hosts());
        one
    }
}

/// Returns the host and port of a server, and no other part of the URL.
pub(crate) fn address(server: &Config) -> String {
    let port = server.get_ports().first().copied().unwrap_or(5_432);
    let host = match server.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => server.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> =
            (0..self.count()).map(|index| address(&self.server(index))).collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{}/{database}", servers.join(","))
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectOptions").field(&self.to_string()).finish()
    }
}

/// Returns true if the user or the password contains an unescaped `@` or `?`. The text after such an `@` would be taken for
/// the host, and displayed; TLS parameters after such a `?` would be ignored.
fn is_ambiguous(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    match base.matches('@').count() {
        0 => query.contains('@'),
        1 => false,
        _ => true,
    }
}

/// A URL for the driver, and the parameters that the driver does not know.
struct ParsedUrl {
    url: String,
    trust: TlsTrust,
    durable: bool,
}

/// Removes the TLS parameters, of which the driver knows only some, and those of this crate from a URL.
fn split_own_options(url: &str) -> Result<ParsedUrl, StoreError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut durable, mut rest) = (None, None, "yes", Vec::new());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("durable", value)) => durable = value,
            Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decoded(value)?)),
            _ => rest.push(part),
        }
    }
    let roots = roots.filter(|path| path.as_os_str() != "system");
    let trust = match mode {
        Some("disable") => TlsTrust::NoTls,
        None | Some("allow" | "prefer") => TlsTrust::Unverified(SslMode::Prefer),
        // As in PostgreSQL's own programs, naming roots implies verification.
        Some("require") if roots.is_none() => TlsTrust::Unverified(SslMode::Require),
        Some("require" | "verify-ca" | "verify-full") => TlsTrust::Roots(roots),
        Some(_) => {
            let text = "sslmode is disable, prefer, require, verify-ca or verify-full";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
    };
    let durable = match durable {
        "yes" => true,
        "no" => false,
        _ => return Err(StoreError::Unavailable("durable is yes or no".to_owned())),
    };
    let rest = rest.join("&");
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") };
    Ok(ParsedUrl { url, trust, durable })
}

/// Decodes a part of a URL: `%` and two hexadecimal digits are a byte.
fn decoded(part: &str) -> Result<String, StoreError> {
    let invalid =
        || StoreError::Unavailable("a % in the URL is not followed by two digits".to_owned());
    let mut pieces = part.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(invalid)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| invalid())?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| invalid())
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
    fn display_and_debug_omit_the_password(#[case] url: &str, #[case] mode: SslMode) {
        let options = ConnectOptions::at(url).unwrap();
        assert_eq!(options.config.get_ssl_mode(), mode);
        assert_eq!(options.config.get_password(), Some(&b"secret"[..]));
        assert!(!format!("{options} {options:?}").contains("secret"));
    }

    /// No parameter of a URL is lost when it is split into its servers.
    #[test]
    fn servers_of_a_url_keep_all_parameters() {
        let rest = "shop?options=-c%20x%3Dy&application_name=till&sslmode=require&sslnegotiation=direct\
                    &connect_timeout=7&tcp_user_timeout=8&keepalives=1&keepalives_retries=9\
                    &target_session_attrs=read-write&channel_binding=require&load_balance_hosts=disable";
        let of = |hosts: &str| {
            ConnectOptions::at(&format!("postgres://shop:secret@{hosts}/{rest}")).unwrap()
        };
        assert_eq!(of("a:1,b:2").servers(), [of("a:1").config, of("b:2").config]);
        assert_eq!(of("%2Ftmp:3,b:3").servers(), [of("%2Ftmp:3").config, of("b:3").config]);
    }

    #[rstest]
    #[case("postgres://kim@a:1,b/shop", "postgres://a:1,b:5432/shop")]
    #[case("postgres://kim@[::1]/", "postgres://[::1]:5432/kim")]
    #[case(
        "postgres://kim@/shop?hostaddr=127.0.0.1,::1&port=7",
        "postgres://127.0.0.1:7,[::1]:7/shop"
    )]
    #[case("postgres:///shop?host=%2Ftmp&user=kim%40cloud", "postgres:///tmp:5432/shop")]
    fn display_lists_the_servers(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(
            ConnectOptions::at(url).map(|options| options.to_string()).as_deref(),
            Ok(expected)
        );
    }

    #[rstest]
    #[case("postgres:///shop")]
    #[case("postgres://kim:secret@/shop")]
    fn url_without_server_is_refused(#[case] url: &str) {
        let error = ConnectOptions::at(url).unwrap_err().to_string();
        assert!(error.contains("names no server"), "{error}");
    }

    #[rstest]
    #[case("%2Fno%2Fsuch%20file", "/no/such file")]
    #[case("/no/such", "/no/such")]
    #[case("/%EA%B9%80", "/김")]
    fn sslrootcert_is_percent_decoded(#[case] part: &str, #[case] file: &str) {
        assert_eq!(decoded(part).as_deref(), Ok(file));
        let url = format!("postgres://db/shop?sslmode=verify-full&sslrootcert={part}");
        let error = ConnectOptions::at(&url).unwrap_err().to_string();
        assert!(error.contains(&format!("the roots in {file}:")), "{error}");
    }

    /// The rest of a password is not taken for a host, and `sslmode` is not ignored.
    #[rstest]
    #[case("postgres://shop:se@cret@db/shop")]
    #[case("postgres://shop:se@cret/@db/shop")]
    #[case("postgres://shop:?e@cret@db/shop")]
    #[case("postgres://shop:se?cret@db/shop?sslmode=require")]
    #[case("postgres://db/shop?user=shop&password=se@cret")]
    fn url_with_unescaped_password_is_refused(#[case] url: &str) {
        let error = ConnectOptions::at(url).unwrap_err().to_string();
        assert!(error.contains("%40") && !error.contains("cret"), "{error}");
    }

    #[rstest]
    #[case("postgres://shop:secret@db/shop?sslmode=verify-full&sslrootcert=%secret")]
    #[case("postgres://shop:secret@db/shop?sslmode=secret")]
    #[case("postgres://shop:secret@db/shop?durable=secret")]
    #[case("postgres://shop:secret@db:secret/shop")]
    #[case("postgres://shop:secret@db/shop?connect_timeout=secret")]
    #[case("postgres://shop:secret@db/shop?sslmode=verify-full&sslrootcert=/no/such/file")]
    fn errors_of_invalid_urls_omit_the_url(#[case] url: &str) {
        assert!(!ConnectOptions::at(url).unwrap_err().to_string().contains("secret"));
    }
}
