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

#[cfg(test)]
mod tests {
    use super::*;

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
