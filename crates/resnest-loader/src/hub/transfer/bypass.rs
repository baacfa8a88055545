//! Which hosts are reached without a proxy: the rules of `NO_PROXY`.

use crate::hub::proxy::Proxies;

impl Proxies {
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
}
