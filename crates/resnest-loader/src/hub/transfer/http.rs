//! Single requests: the agents, where the token may go, and which failures may pass.

use std::io;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy, Timeout};

use super::resolve::{NamingResolver, Unresolved};
use crate::hub::environment::check_token;
use crate::hub::error::{HubError, io_error};
use crate::hub::options::HubOptions;

const USER_AGENT: &str = concat!("resnest-loader/", env!("CARGO_PKG_VERSION"));

/// Why an attempt failed, and whether another may help.
#[derive(Debug)]
pub(super) enum Failure {
    /// A timeout, a cut: try again.
    Transient(String),
    /// No such name, nobody listening, no HTTP: it hardly passes, so try once more and not for long.
    Lasting(String),
    /// 408, 429 or 5xx: try again, after the time the server asks for if it does.
    Busy {
        status: u16,
        message: String,
        wait: Option<Duration>,
    },
    /// Trying again changes nothing.
    Fatal(HubError),
}

/// HTTP towards the hub: one agent for each way out, none of which follows redirects.
pub(in crate::hub) struct Client {
    direct: Agent,
    http_proxied: Option<Agent>,
    https_proxied: Option<Agent>,
    endpoint: Uri,
}

impl Client {
    pub(in crate::hub) fn new(options: &HubOptions) -> Result<Self, HubError> {
        let endpoint = endpoint_uri(&options.endpoint)?;
        let token = options.token.as_deref().unwrap_or_default();
        check_token(token).map_err(|reason| HubError::BadOption {
            option: "HubOptions::token",
            value: "...".to_owned(),
            reason,
        })?;
        let roots = root_certs(options)?;
        let agent = |proxy| agent(options, roots.clone(), proxy);
        let proxied = |address: &Option<String>, option| {
            let address = address.as_deref();
            address
                .map(|address| parse_proxy(address, option).map(|proxy| agent(Some(proxy))))
                .transpose()
        };
        Ok(Self {
            direct: agent(None),
            http_proxied: proxied(&options.proxies.http, "HTTP_PROXY")?,
            https_proxied: proxied(&options.proxies.https, "HTTPS_PROXY")?,
            endpoint,
        })
    }

    /// Asks for the headers of `url` within `metadata_timeout`.
    pub(super) fn head(&self, url: &Uri, options: &HubOptions) -> Result<Response<Body>, Failure> {
        let mut request = self
            .agent(url, options)
            .head(url)
            .config()
            .timeout_per_call(Some(
                options
                    .metadata_timeout
                    .saturating_add(options.connect_timeout),
            ))
            .timeout_recv_response(Some(options.metadata_timeout))
            .build();
        if let Some(token) = self.token_for(url, options) {
            request = request.header(header::AUTHORIZATION, token);
        }
        request.call().map_err(|error| classify(&error))
    }

    /// Asks for the bytes of `url` from `start` on.
    pub(super) fn get(
        &self,
        url: &Uri,
        start: u64,
        options: &HubOptions,
    ) -> Result<Response<Body>, Failure> {
        let mut request = self.agent(url, options).get(url);
        if let Some(token) = self.token_for(url, options) {
            request = request.header(header::AUTHORIZATION, token);
        }
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| classify(&error))
    }

    /// Whether `url` is served by the endpoint itself, the only place the token is sent to.
    pub(super) fn is_endpoint(&self, url: &Uri) -> bool {
        let (Some(ours), Some(theirs)) = (origin(&self.endpoint), origin(url)) else {
            return false;
        };
        // http on its usual port may be raised to https on its own, as hubs that enforce TLS do.
        let raised = ours.0 == theirs.0
            && (ours.1, ours.2.as_str()) == (80, "http")
            && (theirs.1, theirs.2.as_str()) == (443, "https");
        ours == theirs || raised
    }

    fn token_for(&self, url: &Uri, options: &HubOptions) -> Option<String> {
        let token = options.token.as_deref()?;
        self.is_endpoint(url).then(|| format!("Bearer {token}"))
    }

    fn agent(&self, url: &Uri, options: &HubOptions) -> &Agent {
        let (host, port) = origin(url).map_or((String::new(), 0), |(host, port, _)| (host, port));
        if options.proxies.bypassed(&host, port) {
            return &self.direct;
        }
        let proxied = match url.scheme_str() {
            Some("https") => &self.https_proxied,
            _ => &self.http_proxied,
        };
        proxied.as_ref().unwrap_or(&self.direct)
    }
}

fn agent(options: &HubOptions, roots: RootCerts, proxy: Option<Proxy>) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(USER_AGENT)
        // Lengths and hashes are of the plain bytes.
        .accept_encoding("identity")
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(proxy)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_send_request(Some(options.read_timeout))
        .timeout_recv_response(Some(options.read_timeout))
        .timeout_per_read(Some(options.read_timeout))
        // An idle connection that the server closed meanwhile would look like an outage.
        .max_idle_age(Duration::from_secs(3))
        .build();
    Agent::with_parts(
        config,
        DefaultConnector::default(),
        NamingResolver::default(),
    )
}

fn endpoint_uri(endpoint: &str) -> Result<Uri, HubError> {
    let bad = |reason: &str| HubError::BadOption {
        option: "HF_ENDPOINT",
        value: endpoint.to_owned(),
        reason: reason.to_owned(),
    };
    let uri: Uri = endpoint.parse().map_err(|_| bad("not an address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(bad("expected http://host or https://host"));
    }
    if uri.query().is_some() {
        return Err(bad("expected an address without a query"));
    }
    Ok(uri)
}

fn parse_proxy(address: &str, option: &'static str) -> Result<Proxy, HubError> {
    Proxy::new(address).map_err(|error| HubError::BadOption {
        option,
        // The address may hold a password.
        value: "...".to_owned(),
        reason: format!("{error}; expected [http|https|socks5]://[user:password@]host:port"),
    })
}

fn root_certs(options: &HubOptions) -> Result<RootCerts, HubError> {
    let Some(path) = &options.ca_bundle else {
        return Ok(RootCerts::WebPki);
    };
    let pem = std::fs::read(path)
        .map_err(|error| io_error(path, "reading the certificate authorities", error))?;
    let certs: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(cert)) => Some(cert),
            _ => None,
        })
        .collect();
    if certs.is_empty() {
        return Err(HubError::BadOption {
            option: "SSL_CERT_FILE",
            value: path.display().to_string(),
            reason: "expected a PEM file with at least one certificate".to_owned(),
        });
    }
    Ok(certs.into())
}

/// Host in lower case, port and scheme.
fn origin(url: &Uri) -> Option<(String, u16, String)> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let default = if scheme == "https" { 443 } else { 80 };
    let port = url.port_u16().unwrap_or(default);
    Some((url.host()?.to_ascii_lowercase(), port, scheme))
}

/// Whether both addresses are served by the same host, port and scheme.
pub(super) fn same_origin(one: &Uri, other: &Uri) -> bool {
    origin(one).is_some() && origin(one) == origin(other)
}

/// The address that a `Location` header means, seen from `base`.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().filter(|l| !l.is_empty())?;
    let scheme = base.scheme_str()?;
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", base.authority()?)
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{}{folder}/{location}", base.authority()?)
    };
    let uri: Uri = absolute.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

/// An address fit for a message: a query may hold a signature.
pub(super) fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().map(|port| format!(":{port}"));
    format!(
        "{scheme}://{host}{}{}",
        port.unwrap_or_default(),
        url.path()
    )
}

/// A header's text, when present and readable.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The hub's explanation of a refusal, cut to a line's length.
pub(super) fn server_message(headers: &HeaderMap) -> String {
    let message = text(headers, "x-error-message").unwrap_or_default();
    message.chars().take(300).collect()
}

/// A status that may be different next time.
pub(super) fn busy(status: u16, headers: &HeaderMap) -> Option<Failure> {
    matches!(status, 408 | 429 | 500..=599).then(|| Failure::Busy {
        status,
        message: server_message(headers),
        wait: retry_after(headers),
    })
}

/// `Retry-After` in seconds or as a date, or the hub's `RateLimit: "...";r=0;t=<seconds>`. None for no
/// wait at all: then the back-off decides.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let stated = text(headers, "retry-after").and_then(stated_wait);
    let limited = || {
        let value = text(headers, "ratelimit")?;
        let mut parts = value.split(';').map(str::trim);
        parts.find_map(|part| whole_seconds(part.strip_prefix("t=")?))
    };
    stated.or_else(limited).filter(|wait| !wait.is_zero())
}

/// The two forms of RFC 9110, 10.2.3.
fn stated_wait(value: &str) -> Option<Duration> {
    if let Some(wait) = whole_seconds(value) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Digits; more of them than a number has room for stand for no less.
fn whole_seconds(digits: &str) -> Option<Duration> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

/// Which of ureq's errors another attempt may overcome.
pub(super) fn classify(error: &ureq::Error) -> Failure {
    use ureq::Error as E;
    let cause = error.to_string();
    match error {
        E::Other(other) if other.is::<Unresolved>() => Failure::Lasting(other.to_string()),
        E::Timeout(Timeout::Resolve | Timeout::Connect) => Failure::Lasting(cause),
        E::Io(error) if lasts(error.kind()) => Failure::Lasting(cause),
        E::Timeout(_) | E::Io(_) => Failure::Transient(cause),
        E::HostNotFound | E::ConnectionFailed | E::Protocol(_) | E::ConnectProxyFailed(_) => {
            Failure::Lasting(cause)
        }
        _ => Failure::Fatal(HubError::Unreachable {
            url: String::new(),
            attempts: 1,
            cause,
        }),
    }
}

/// Whether a failed connection fails the same way for a while.
fn lasts(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
            // rustls' word for a certificate that it does not trust
            | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_resolve() {
        let base: Uri = "http://h:1/a/b?x=1".parse().unwrap();
        for (location, expected) in [
            ("/c?d=e", Some("http://h:1/c?d=e")),
            ("c", Some("http://h:1/a/c")),
            ("//k/c", Some("http://k/c")),
            ("https://k/c#f", Some("https://k/c")),
            ("ftp://k/c", None),
            ("http://", None),
            ("", None),
        ] {
            let got = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_token_stays_with_the_endpoint() {
        let client = |endpoint: &str| {
            Client::new(&HubOptions {
                endpoint: endpoint.to_owned(),
                ..HubOptions::default()
            })
            .unwrap()
        };
        let is = |endpoint: &str, url: &str| client(endpoint).is_endpoint(&url.parse().unwrap());
        assert!(is("https://hub.example", "https://HUB.example:443/x"));
        assert!(is("http://hub.example", "https://hub.example/x"));
        assert!(!is("https://hub.example", "http://hub.example/x"));
        assert!(!is("https://hub.example", "https://cdn.hub.example/x"));
        assert!(!is("https://hub.example", "https://hub.example:8443/x"));
        assert!(!is("http://127.0.0.1:1", "http://localhost:1/x"));
    }

    #[test]
    fn waits_that_servers_ask_for() {
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        let limit = "\"resolvers\";r=0;t=42";
        assert_eq!(wait("ratelimit", limit), Some(Duration::from_secs(42)));
        let endless = Some(Duration::from_secs(u64::MAX));
        assert_eq!(wait("retry-after", "99999999999999999999999"), endless);
        for none in [
            "0",
            "soon",
            "-5",
            "1.5",
            "",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(wait("retry-after", none), None, "{none}");
        }
    }

    #[test]
    fn waits_until_a_date_are_understood_in_every_form() {
        let in_90_s = SystemTime::now() + Duration::from_secs(90);
        let date = httpdate::fmt_http_date(in_90_s);
        let wait = stated_wait(&date).unwrap();
        assert!((85..=90).contains(&wait.as_secs()), "{date}: {wait:?}");
        // the same moment as RFC 9110, 5.6.7 writes it three times
        let moment = |text: &str| httpdate::parse_http_date(text).unwrap();
        let known = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(moment(text), known);
            assert_eq!(stated_wait(text), Some(Duration::ZERO));
        }
        let far = stated_wait("Tue, 31 Dec 2999 23:59:59 GMT").unwrap();
        assert!(far > Duration::from_secs(900 * 365 * 86_400));
    }
}
