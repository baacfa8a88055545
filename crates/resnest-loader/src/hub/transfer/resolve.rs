//! Name resolution whose error has the name that did not resolve.
//!
//! The system's answer reaches ureq as an input/output error like any other. But a name that does not
//! resolve, huggingface.co's or a proxy's, will not do so a second later either.

use std::fmt;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// ureq's resolver, whose failures are an [`Unresolved`].
#[derive(Debug, Default)]
pub(super) struct NamingResolver(DefaultResolver);

/// A host's name without an address.
#[derive(Debug)]
pub(super) struct Unresolved {
    host: String,
    cause: ureq::Error,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name {} does not resolve ({})",
            self.host, self.cause
        )
    }
}

impl std::error::Error for Unresolved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Resolver for NamingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|cause| {
            let host = uri.host().unwrap_or_default().to_owned();
            ureq::Error::Other(Box::new(Unresolved { host, cause }))
        })
    }
}
