//! Just enough of Rust's lexer to find paths: names and punctuation, without comments and literals.

/// A name or keyword, or one character of punctuation; `::` is one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Name(String),
    PathSep,
    Punct(char),
}

impl Token {
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Token::Name(own) if own == name)
    }

    pub fn name(&self) -> Option<&str> {
        match self {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The tokens of a source file.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut i, mut found) = (0, Vec::new());
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => i = line_end(&chars, i),
            '/' if at(i + 1) == '*' => i = comment_end(&chars, i),
            '"' => i = string_end(&chars, i + 1),
            '\'' => i = quote_end(&chars, i),
            ':' if at(i + 1) == ':' => {
                found.push(Token::PathSep);
                i += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let start = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                match raw_string_end(&chars, &word, i) {
                    Some(end) => i = end,
                    None => found.push(Token::Name(word)),
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Punct(c));
                }
                i += 1;
            }
        }
    }
    found
}

fn line_end(chars: &[char], from: usize) -> usize {
    let rest = chars[from..].iter().position(|c| *c == '\n');
    rest.map_or(chars.len(), |length| from + length)
}

/// Block comments nest.
fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut i, mut depth) = (from, 0);
    while i < chars.len() {
        match chars[i..] {
            ['/', '*', ..] => (i, depth) = (i + 2, depth + 1),
            ['*', '/', ..] => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// After the closing quote of a string that began before `from`.
fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// After a character or, where it is none, after the quote of a lifetime.
fn quote_end(chars: &[char], from: usize) -> usize {
    match chars[from..] {
        ['\'', '\\', _, ..] => {
            let rest = chars[from + 3..].iter().position(|c| *c == '\'');
            rest.map_or(chars.len(), |length| from + 3 + length + 1)
        }
        ['\'', _, '\'', ..] => from + 3,
        _ => from + 1,
    }
}

/// Where a raw string ends whose prefix is `word`, the hashes and quote beginning at `from`.
fn raw_string_end(chars: &[char], word: &str, from: usize) -> Option<usize> {
    if !["r", "br", "cr"].contains(&word) {
        return None;
    }
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let body = from + hashes + 1;
    let length = chars[body..].windows(close.len()).position(|w| w == close);
    Some(length.map_or(chars.len(), |length| body + length + close.len()))
}
