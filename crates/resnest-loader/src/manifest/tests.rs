//! The built-in manifest, and what a user's may say.
