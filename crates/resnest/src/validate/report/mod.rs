//! A validation as one page for people: no scripts, no network, pictures inside.

mod page;
mod parts;
mod pictures;

pub use pictures::{Pictures, pictures};

use super::{Error, Validation};

const TEMPLATE: &str = include_str!("report.html");

/// The page of one or several models' results, each with the pictures of its mistakes; `command` is shown at the end.
///
/// # Errors
/// [`Error::Report`], which only a mistake in this crate can cause.
pub fn html(
    results: &[(Validation, Vec<Pictures>)],
    command: Option<&str>,
) -> Result<String, Error> {
    let page = minijinja::value::Serde(page::Page::new(results, command));
    let mut environment = minijinja::Environment::new();
    // The name's ending has minijinja escape every value.
    environment
        .add_template("report.html", TEMPLATE)
        .and_then(|()| environment.get_template("report.html"))
        .and_then(|template| template.render(page))
        .map_err(|e| Error::Report {
            reason: format!("{e:#}"),
        })
}
