# What CI runs, and what to run before a commit.
check: fmt clippy test doc deny

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --release --workspace --all-targets --locked -- -D warnings

# The benches run each of their functions once.
test:
    cargo test --release --workspace --locked
    cargo test --release --locked --bench image --bench kernels --bench model

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --locked

deny:
    cargo deny --locked check licenses bans sources

bench:
    cargo bench --workspace
