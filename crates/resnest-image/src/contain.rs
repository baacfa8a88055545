//! A panic in a decoder becomes an error of its image, without a word on standard error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// How many [`contain`] calls this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Makes the process's panic hook pass over panics that are about to be caught, and leaves all others to
/// the hook that was there before.
fn quieten() {
    static ONCE: Once = Once::new();
    // A hook cannot be set while this thread unwinds; then the message is printed, no more.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                before(info);
            }
        }));
    });
}

/// Runs `work`; a panic in it is returned as its message, and nothing is printed.
///
/// This is the last resort for code that meets bytes from outside: the decoders that come from other
/// crates. The first call puts a panic hook before the process's own, which hears all panics but these.
/// A program built with `panic = "abort"` ends all the same.
///
/// # Errors
/// The message of the panic.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quieten();
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::contain;

    #[test]
    fn a_panic_is_its_message() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(contain(|| panic!("a {}", "b")), Err::<(), _>("a b".into()));
        let nested = contain(|| contain(|| panic!("inner")).is_err());
        assert_eq!(nested, Ok(true));
    }
}
