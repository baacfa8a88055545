//! The paths that a file writes down, and the modules and names it declares.

use std::collections::BTreeSet;

use super::tokens::{Token, tokens};

/// What one file says.
#[derive(Debug, Default)]
pub struct Source {
    /// `mod name;`: a file of its own.
    pub children: Vec<String>,
    /// Every path that may lead to another file of the crate.
    pub paths: Vec<Written>,
    /// Names of the items defined anywhere in the file.
    pub items: BTreeSet<String>,
    /// Names written outside of `use` declarations.
    pub used: BTreeSet<String>,
}

/// A path as it is written.
#[derive(Clone, Debug)]
pub struct Written {
    /// `crate`, `super`, `self` or a name, and what follows it; `*` ends a glob.
    pub segments: Vec<String>,
    /// How many inline modules (`mod tests { … }`) it stands in.
    pub inline: usize,
    /// The name it is given, if it is a `use`.
    pub alias: Option<String>,
    /// Whether it is a `pub use` of any visibility.
    pub public: bool,
}

/// Reads a file.
pub fn read(text: &str) -> Source {
    let tokens = tokens(text);
    let (mut source, mut i) = (Source::default(), 0);
    let (mut depth, mut inline) = (0, Vec::new());
    while i < tokens.len() {
        let next = |ahead: usize| tokens.get(i + ahead);
        match &tokens[i] {
            Token::Punct('{') => depth += 1,
            Token::Punct('}') => {
                depth -= 1;
                inline.retain(|opened| *opened <= depth);
            }
            token if token.is("use") => {
                let public = i > 0 && is_visibility(&tokens[..i]);
                i += 1;
                let from = source.paths.len();
                i = use_tree(&tokens, i, &[], &mut source.paths);
                for path in &mut source.paths[from..] {
                    (path.inline, path.public) = (inline.len(), public);
                }
                continue;
            }
            token if token.is("mod") => {
                if let (Some(Token::Name(name)), Some(end)) = (next(1), next(2)) {
                    match end {
                        Token::Punct(';') => source.children.push(name.clone()),
                        Token::Punct('{') => inline.push(depth + 1),
                        _ => {}
                    }
                }
            }
            token if defines(token) => {
                let name = next(1).and_then(Token::name);
                source.items.extend(name.map(str::to_owned));
            }
            Token::Name(name) => {
                source.used.insert(name.clone());
                if let Some((segments, end)) = path(&tokens, i) {
                    source.used.extend(segments.iter().cloned());
                    source.paths.push(Written {
                        segments,
                        inline: inline.len(),
                        alias: None,
                        public: false,
                    });
                    i = end;
                    continue;
                }
            }
            _ => {}
        }
        i += 1;
    }
    source
}

fn defines(token: &Token) -> bool {
    let keywords = [
        "fn", "struct", "enum", "union", "trait", "type", "const", "static",
    ];
    keywords.iter().any(|keyword| token.is(keyword))
}

/// Whether `pub` or `pub(…)` is what ends here.
fn is_visibility(before: &[Token]) -> bool {
    match before.last() {
        Some(Token::Punct(')')) => {
            let open = before.iter().rposition(|t| *t == Token::Punct('('));
            open.is_some_and(|open| open > 0 && before[open - 1].is("pub"))
        }
        Some(token) => token.is("pub"),
        None => false,
    }
}

/// A path of two segments or more that begins at `i`, and where it ends.
fn path(tokens: &[Token], i: usize) -> Option<(Vec<String>, usize)> {
    let before = i.checked_sub(1).map(|before| &tokens[before]);
    let goes_on = match before {
        Some(Token::PathSep | Token::Punct('.' | '$')) => true,
        Some(token) => token.is("in"), // `pub(in crate::…)`, and nothing else that matters
        None => false,
    };
    if goes_on {
        return None;
    }
    let mut segments = vec![tokens[i].name()?.to_owned()];
    let mut end = i + 1;
    while let (Some(Token::PathSep), Some(Token::Name(name))) =
        (tokens.get(end), tokens.get(end + 1))
    {
        segments.push(name.clone());
        end += 2;
    }
    (segments.len() > 1).then_some((segments, end))
}

/// The paths of a `use` from `i` on, below `prefix`; gives where it ends.
fn use_tree(tokens: &[Token], mut i: usize, prefix: &[String], out: &mut Vec<Written>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(i) {
        match token {
            Token::PathSep => i += 1,
            Token::Punct('{') => {
                i += 1;
                while tokens.get(i).is_some_and(|t| *t != Token::Punct('}')) {
                    i = use_tree(tokens, i, &segments, out);
                    i += usize::from(tokens.get(i) == Some(&Token::Punct(',')));
                }
                return i + 1;
            }
            Token::Name(name) if name == "as" => {
                let alias = tokens.get(i + 1).and_then(Token::name);
                out.push(written(segments, alias.map(str::to_owned)));
                return i + 2;
            }
            Token::Name(name) => {
                segments.push(name.clone());
                i += 1;
            }
            Token::Punct('*') => {
                segments.push("*".to_owned());
                i += 1;
            }
            Token::Punct(_) => break,
        }
    }
    out.push(written(segments, None));
    i
}

fn written(mut segments: Vec<String>, alias: Option<String>) -> Written {
    // `use a::{self}` is `use a`.
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let last = segments.last().cloned();
    Written {
        segments,
        inline: 0,
        alias: alias.or(last),
        public: false,
    }
}
