//! The hub client of a build without the feature `hub`: what the cache has, and nothing else.

use std::path::PathBuf;

use super::Located;
use super::error::HubError;
use super::layout::Layout;
use super::options::HubOptions;

/// Stands where `transfer::Client` would.
pub(super) struct Client;

impl Client {
    /// The endpoint, proxies and certificates of the options are not looked at: nothing would use them.
    pub(super) fn new(_options: &HubOptions) -> Result<Self, HubError> {
        Ok(Self)
    }

    /// The cached copy, as in offline mode.
    pub(super) fn locate(
        &self,
        _options: &HubOptions,
        layout: &Layout<'_>,
        cached: Option<(PathBuf, String)>,
    ) -> Result<Located, HubError> {
        cached
            .map(Located::cached)
            .ok_or_else(|| layout.absent(|file, cache| HubError::NotBuiltIn { file, cache }))
    }
}
