//! Where the server is and how it is reached, from the URL: its settings, what TLS is to prove, and whether
//! the server has to keep what it acknowledges.

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

/// How long to try one server before the next one of the URL, until it can be asked something.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// From when a peer that says nothing is asked whether it is still there, and for how long it may leave
/// what was sent unconfirmed.
const KEEPALIVE: Duration = Duration::from_secs(5);
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A server and a database on it. Shown, it leaves the password out.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    /// A server that loses what it acknowledged when its machine does is refused.
    pub(crate) durable: bool,
}

impl ConnectOptions {
    /// The target that a URL names. What is told of a wrong one leaves its text out.
    pub(crate) fn at(url: &str) -> Result<Self, StoreError> {
        if is_ambiguous(url) {
            let text = "it is not clear where the host of the URL begins: in a user or a password write \
                        %40 for @ and %3F for ?";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
        let ParsedUrl { url, trust, durable } = split_own_options(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| error.to_string());
            StoreError::Unavailable(format!("the URL of the server is not understood: {reason}"))
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
            config.tcp_user_timeout(UNCONFIRMED);
        }
        if config.get_application_name().is_none() {
            config.application_name("commerce");
        }
        Ok(Self { config, tls: tls::connector(&trust)?, durable })
    }

    /// Each server of the URL by itself, in the order in which they are to be tried. The driver would try
    /// them all in one call, and wait for ever at a first one that takes connections and says nothing.
    pub(crate) fn servers(&self) -> Vec<Config> {
        let count = self.count();
        let mut servers: Vec<_> = (0..count).map(|target| self.server(target)).collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            servers.rotate_left(usize::from(random_byte()).checked_rem(count).unwrap_or(0));
        }
        servers
    }

    /// Whether a server is named, and its address must be looked up.
    pub(crate) fn has_names(&self) -> bool {
        let is_name =
            |host: &Host| matches!(host, Host::Tcp(name) if name.parse::<IpAddr>().is_err());
        self.config.get_hostaddrs().is_empty() && self.config.get_hosts().iter().any(is_name)
    }

    fn count(&self) -> usize {
        self.config.get_hosts().len().max(self.config.get_hostaddrs().len())
    }

    fn server(&self, target: usize) -> Config {
        let all = &self.config;
        let mut one = Config::new();
        match all.get_hosts().get(target) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = all.get_hostaddrs().get(target) {
            one.hostaddr(*address);
        }
        if let Some(port) = all.get_ports().get(target).or(all.get_ports().first()) {
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

/// Where one server is: its host and port, and nothing else of the URL.
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
        let servers: Vec<String> = (0..self.count()).map(|at| address(&self.server(at))).collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{}/{database}", servers.join(","))
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectOptions").field(&self.to_string()).finish()
    }
}

/// Whether an `@` or a `?` of the user or the password stands as it is. What comes after an `@` would be taken
/// for the host, and shown; what the URL says of TLS after a `?` would be passed over.
fn is_ambiguous(url: &str) -> bool {
    let (target, query) = url.split_once('?').unwrap_or((url, ""));
    match target.matches('@').count() {
        0 => query.contains('@'),
        1 => false,
        _ => true,
    }
}

/// A URL as the driver knows it, and what it said besides.
struct ParsedUrl {
    url: String,
    trust: TlsTrust,
    durable: bool,
}

/// Takes out what the URL says of TLS, of which the driver knows only a part, and what is ours alone.
fn split_own_options(url: &str) -> Result<ParsedUrl, StoreError> {
    let (target, query) = url.split_once('?').unwrap_or((url, ""));
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
        None | Some("allow" | "prefer") => TlsTrust::Anyone(SslMode::Prefer),
        // As with PostgreSQL's own programs: whoever names roots wants them asked.
        Some("require") if roots.is_none() => TlsTrust::Anyone(SslMode::Require),
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
    let url = if rest.is_empty() { target.to_owned() } else { format!("{target}?{rest}") };
    Ok(ParsedUrl { url, trust, durable })
}

/// What a part of a URL says: `%` and two digits stand for a byte.
fn decoded(part: &str) -> Result<String, StoreError> {
    let wrong =
        || StoreError::Unavailable("a % in the URL is not followed by two digits".to_owned());
    let mut pieces = part.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
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
        let target = ConnectOptions::at(url).unwrap();
        assert_eq!(target.config.get_ssl_mode(), mode);
        assert_eq!(target.config.get_password(), Some(&b"secret"[..]));
        assert!(!format!("{target} {target:?}").contains("secret"));
    }

    /// Nothing that a URL can say is lost when its servers are told apart.
    #[test]
    fn each_server_of_a_url_is_asked_by_itself_with_all_that_the_url_says() {
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
    fn a_place_is_shown_with_its_servers(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(ConnectOptions::at(url).map(|target| target.to_string()).as_deref(), Ok(shown));
    }

    #[rstest]
    #[case("postgres:///shop")]
    #[case("postgres://kim:secret@/shop")]
    fn a_url_without_a_server_is_told_so(#[case] url: &str) {
        let told = ConnectOptions::at(url).unwrap_err().to_string();
        assert!(told.contains("names no server"), "{told}");
    }

    #[rstest]
    #[case("%2Fno%2Fsuch%20file", "/no/such file")]
    #[case("/no/such", "/no/such")]
    #[case("/%EA%B9%80", "/김")]
    fn the_file_of_roots_may_be_written_as_any_part_of_a_url(
        #[case] part: &str,
        #[case] file: &str,
    ) {
        assert_eq!(decoded(part).as_deref(), Ok(file));
        let url = format!("postgres://db/shop?sslmode=verify-full&sslrootcert={part}");
        let told = ConnectOptions::at(&url).unwrap_err().to_string();
        assert!(told.contains(&format!("the roots in {file}:")), "{told}");
    }

    /// The rest of a password is not taken for a host, nor is `sslmode` passed over.
    #[rstest]
    #[case("postgres://shop:se@cret@db/shop")]
    #[case("postgres://shop:se@cret/@db/shop")]
    #[case("postgres://shop:?e@cret@db/shop")]
    #[case("postgres://shop:se?cret@db/shop?sslmode=require")]
    #[case("postgres://db/shop?user=shop&password=se@cret")]
    fn a_url_that_could_mean_two_places_is_refused(#[case] url: &str) {
        let told = ConnectOptions::at(url).unwrap_err().to_string();
        assert!(told.contains("%40") && !told.contains("cret"), "{told}");
    }

    #[rstest]
    #[case("postgres://shop:secret@db/shop?sslmode=verify-full&sslrootcert=%secret")]
    #[case("postgres://shop:secret@db/shop?sslmode=secret")]
    #[case("postgres://shop:secret@db/shop?durable=secret")]
    #[case("postgres://shop:secret@db:secret/shop")]
    #[case("postgres://shop:secret@db/shop?connect_timeout=secret")]
    #[case("postgres://shop:secret@db/shop?sslmode=verify-full&sslrootcert=/no/such/file")]
    fn what_is_told_of_a_wrong_url_leaves_it_out(#[case] url: &str) {
        assert!(!ConnectOptions::at(url).unwrap_err().to_string().contains("secret"));
    }
}
