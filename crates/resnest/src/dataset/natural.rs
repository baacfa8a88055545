//! timm's order of files and classes: numbers by value, letters without regard to case (`timm/utils/misc.py`,
//! `natural_key`).

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Compares as timm does; what timm holds for equal (`1.jpg` and `01.jpg`, `A` and `a`) is told apart by its letters.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (lower_a, lower_b) = (a.to_lowercase(), b.to_lowercase());
    let (mut left, mut right) = (lower_a.chars().peekable(), lower_b.chars().peekable());
    loop {
        // A name is text, number, text, number …, either text may be empty.
        let texts = text(&mut left).cmp(&text(&mut right));
        if texts.is_ne() {
            return texts;
        }
        let order = match (number(&mut left), number(&mut right)) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            // Without leading zeros the longer number is the larger one, however many digits it has.
            (Some(m), Some(n)) => m.len().cmp(&n.len()).then_with(|| m.cmp(&n)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn text(rest: &mut Peekable<Chars>) -> String {
    std::iter::from_fn(|| rest.next_if(|c| !c.is_ascii_digit())).collect()
}

/// The digits to come, without leading zeros; `None` where the name ends.
fn number(rest: &mut Peekable<Chars>) -> Option<String> {
    rest.peek()?;
    while rest.next_if_eq(&'0').is_some() {}
    Some(std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value_and_case_does_not_count() {
        // As timm's `natural_key` sorts them.
        let sorted = [
            "", "7", "008", "9", "10", "a2", "A010", "a11", "a11b", "a11b1", "B", "b1", "b-1/x",
            "b/1", "b/2", "ä",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|a, b| natural_order(a, b));
        assert_eq!(shuffled, sorted);
    }

    #[test]
    fn numbers_beyond_every_integer_compare_and_equals_are_told_apart() {
        let (large, larger) = ("x99999999999999999999999", "x100000000000000000000000");
        assert_eq!(natural_order(large, larger), Ordering::Less);
        assert_eq!(natural_order("01", "1"), Ordering::Less);
        assert_eq!(natural_order("A", "a"), Ordering::Less);
        assert_eq!(natural_order("a1", "a1"), Ordering::Equal);
    }
}
