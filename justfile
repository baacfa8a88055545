# What CI runs, and what to run before a commit.
check: fmt links clippy test python test-shared deploy doc deny cuda publish

fmt:
    cargo fmt --all --check

# Links and anchors of the documentation.
links:
    python3 docs/check.py

clippy:
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo clippy --release --manifest-path fuzz/Cargo.toml --target-dir target --locked -- -D warnings

# The benches run each of their functions once.
test:
    cargo test --release --workspace --locked
    cargo test --release --workspace --locked --bench image --bench kernels --bench model

# The Python package: the wheel, installed, with its tests, types and a fresh environment of each Python on the machine.
# Needs a Python 3.11 or later that may install from PyPI (RESNEST_PYTHON); its own environment is target/ci/python.
python:
    @if [ -n "${RESNEST_PYTHON:-}" ]; then \
        crates/resnest-py/tests/check.sh; \
    else \
        echo "skipped: the Python package's wheel, tests and types (set RESNEST_PYTHON)"; \
    fi

# Ignored by `cargo test`, each with its reason: those that need the photos and the demo model of the project's shared folder
# (RESNEST_SHARED, else ../shared), or a Python with numpy, safetensors, pyarrow, huggingface_hub and what
# tests/serve/requirements.txt lists (RESNEST_PYTHON).
test-shared:
    @if [ -d "${RESNEST_SHARED:-../shared}/data" ]; then \
        cargo test --release --workspace --locked -- --ignored --skip by_hand; \
    else \
        echo "skipped: there is no ${RESNEST_SHARED:-../shared}/data (set RESNEST_SHARED)"; \
    fi

# What is in deploy/: manifests, image, unit, dashboard, and that the built command (by `test`) is as they take it to be.
# Where RESNEST_PYTHON says whose packages to use, a missing one is a fault; else the checks that need it are skipped.
deploy:
    "${RESNEST_PYTHON:-python3}" deploy/check.py ${RESNEST_PYTHON:+--all}
    cd deploy && "${RESNEST_PYTHON:-python3}" -m unittest checks.mutations

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --locked

deny:
    cargo deny --locked check licenses bans sources

# Our code for CUDA and cuDNN, checked with a compiler that only answers questions (.ci/cuda/nvcc): no toolkit, no device.
cuda:
    PATH="$PWD/.ci/cuda:$PATH" CUDA_COMPUTE_CAP=80 cargo check --release --workspace --all-targets --locked --features cuda
    PATH="$PWD/.ci/cuda:$PATH" CUDA_COMPUTE_CAP=80 cargo check --release --workspace --all-targets --locked --features cudnn

# Each crate packed and built from its package, as crates.io would have it; uploads nothing. The packages are built
# unoptimised (cargo knows no other way here), without debug info, and share one folder so that candle is built once.
# cargo leaves them in its home, unpacked, and believes that a version never changes: a later run would use those.
publish:
    rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/resnest* target/publish/debug/.fingerprint/resnest*
    CARGO_TARGET_DIR="$PWD/target/publish" CARGO_PROFILE_DEV_DEBUG=0 cargo publish --workspace --dry-run --locked

# The command for any Linux with glibc 2.28, packed with man pages, completions and licences, in target/dist.
dist:
    deploy/dist.sh

bench:
    cargo bench --workspace
