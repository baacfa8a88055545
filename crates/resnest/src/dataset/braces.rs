//! Brace patterns as WebDataset's users write them: `shard-{000..146}.tar`, `{train,val}.tar`.
//!
//! Written here because the crates that do this panic on an unbalanced brace (bracoxide 0.1.8) or know no ranges.

/// More names than this are a slip of the keyboard.
const MOST: usize = 100_000;

/// The names a pattern stands for, in its order; a text without braces stands for itself.
///
/// # Errors
/// What is wrong with the pattern, in words.
pub fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some(open) = pattern.find('{') else {
        return match pattern.contains('}') {
            true => Err("a } without a { before it".into()),
            false => Ok(vec![pattern.to_owned()]),
        };
    };
    let (before, rest) = (&pattern[..open], &pattern[open + 1..]);
    let close = rest.find('}').ok_or("a { without a } after it")?;
    let choices = alternatives(&rest[..close])?;
    let tails = expand(&rest[close + 1..])?;
    if choices.len().saturating_mul(tails.len()) > MOST {
        return Err(format!("it stands for more than {MOST} names"));
    }
    let with_tails = |choice: &String| {
        let start = format!("{before}{choice}");
        tails
            .iter()
            .map(move |tail| format!("{start}{tail}"))
            .collect::<Vec<_>>()
    };
    Ok(choices.iter().flat_map(with_tails).collect())
}

/// What stands between braces: `a..b`, or words with commas between them.
fn alternatives(inside: &str) -> Result<Vec<String>, String> {
    if inside.contains('{') {
        return Err("braces within braces".into());
    }
    match inside.split_once("..") {
        Some((first, last)) => range(first, last),
        None if inside.contains(',') => Ok(inside.split(',').map(str::to_owned).collect()),
        None => Err(format!(
            "{{{inside}}} is neither a range such as {{000..146}} nor a list such as {{a,b}}"
        )),
    }
}

/// Up or down, with as many digits as the longer end where one has a leading zero (as in bash).
fn range(first: &str, last: &str) -> Result<Vec<String>, String> {
    let parse = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits);
        number.ok_or_else(|| format!("{text:?} in {{{first}..{last}}} is not a number"))
    };
    let (from, to) = (parse(first)?, parse(last)?);
    if from.abs_diff(to) >= MOST as u64 {
        return Err(format!("it stands for more than {MOST} names"));
    }
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let width = match padded(first) || padded(last) {
        true => first.len().max(last.len()),
        false => 0,
    };
    let name = |n: u64| format!("{n:0width$}");
    Ok(if from <= to {
        (from..=to).map(name).collect()
    } else {
        (to..=from).rev().map(name).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_expand_as_in_bash() {
        let all = |pattern| expand(pattern).unwrap().join(" ");
        assert_eq!(all("s-{000..002}.tar"), "s-000.tar s-001.tar s-002.tar");
        assert_eq!(all("{8..11}"), "8 9 10 11");
        assert_eq!(all("{08..11}"), "08 09 10 11");
        assert_eq!(all("{3..1}"), "3 2 1");
        assert_eq!(all("{a,b}-{0..1}"), "a-0 a-1 b-0 b-1");
        assert_eq!(all("plain name.tar"), "plain name.tar");
    }

    #[test]
    fn what_is_no_pattern_is_said_in_words() {
        for (pattern, hint) in [
            ("a{b", "without a }"),
            ("a}b", "without a {"),
            ("{x}", "neither"),
            ("{1..}", "not a number"),
            ("{-1..2}", "not a number"),
            ("{a{b,c}}", "within"),
            ("{0..99999999999}", "more than"),
            ("{1..1000}{1..1000}", "more than"),
            ("{0..18446744073709551615}", "more than"),
        ] {
            let error = expand(pattern).unwrap_err();
            assert!(error.contains(hint), "{pattern}: {error}");
        }
    }
}
