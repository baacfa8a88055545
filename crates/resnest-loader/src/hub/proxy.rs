//! Which proxy a request goes through.

use std::ffi::OsString;
use std::fmt;

use super::environment::Env;
use super::error::HubError;

/// Proxies by the scheme of the address asked for, and the hosts that go without.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` addresses.
    pub http: Option<String>,
    /// For `https://` addresses.
    pub https: Option<String>,
    /// Comma-separated: `*`, a host, a domain (with its subdomains), each with an optional port.
    pub no_proxy: String,
}

impl Proxies {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, else `ALL_PROXY`, and `NO_PROXY`; lower case is asked first.
    ///
    /// # Errors
    /// [`HubError::BadOption`] naming a variable that is not text.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let env = Env(lookup);
        let get = |lower, upper| match env.text(lower)? {
            Some(value) => Ok(Some(value)),
            None => env.text(upper),
        };
        let all = get("all_proxy", "ALL_PROXY")?;
        Ok(Self {
            http: get("http_proxy", "HTTP_PROXY")?.or_else(|| all.clone()),
            https: get("https_proxy", "HTTPS_PROXY")?.or(all),
            no_proxy: get("no_proxy", "NO_PROXY")?.unwrap_or_default(),
        })
    }

    /// Whether `host:port` is to be reached without a proxy.
    pub(super) fn bypassed(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.no_proxy
            .split(',')
            .map(str::trim)
            .filter(|rule| !rule.is_empty())
            .any(|rule| rule == "*" || rule_matches(&rule.to_ascii_lowercase(), &host, port))
    }
}

impl fmt::Debug for Proxies {
    /// Proxy addresses may hold credentials: only whether there is one is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

fn rule_matches(rule: &str, host: &str, port: u16) -> bool {
    let rule = rule.split_once("://").map_or(rule, |(_, rest)| rest);
    let (name, wanted_port) = match rule.rsplit_once(':') {
        // More than one colon is an IPv6 address, which has no port without brackets.
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
            (name, digits.parse::<u16>().ok())
        }
        _ => (rule, None),
    };
    if wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
    let name = bare(name.trim_start_matches('*').trim_start_matches('.'));
    let host = bare(host);
    host == name
        || host
            .strip_suffix(name.as_str())
            .is_some_and(|rest| !name.is_empty() && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_rules() {
        let proxies = Proxies {
            no_proxy: "localhost, .corp.example,*.lan,10.0.0.1:8080,[::1]".to_owned(),
            ..Proxies::default()
        };
        for (host, port, expected) in [
            ("localhost", 80, true),
            ("LOCALHOST", 443, true),
            ("mylocalhost", 80, false),
            ("corp.example", 443, true),
            ("hub.corp.example", 443, true),
            ("notcorp.example", 443, false),
            ("a.lan", 443, true),
            ("10.0.0.1", 8080, true),
            ("10.0.0.1", 80, false),
            ("[::1]", 80, true),
            ("huggingface.co", 443, false),
        ] {
            assert_eq!(proxies.bypassed(host, port), expected, "{host}:{port}");
        }
        let all = Proxies {
            no_proxy: "*".to_owned(),
            ..Proxies::default()
        };
        assert!(all.bypassed("huggingface.co", 443));
    }

    #[test]
    fn the_variables_by_scheme() {
        let lookup = |name: &str| match name {
            "https_proxy" => Some("http://low:1".into()),
            "HTTPS_PROXY" => Some("http://up:1".into()),
            "ALL_PROXY" => Some("socks5://all:1".into()),
            _ => None,
        };
        let proxies = Proxies::from_lookup(&lookup).unwrap();
        assert_eq!(proxies.https.as_deref(), Some("http://low:1"));
        assert_eq!(proxies.http.as_deref(), Some("socks5://all:1"));
    }
}
