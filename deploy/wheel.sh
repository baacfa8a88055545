#!/usr/bin/env bash
# Makes the wheel for PyPI in target/dist: CPython 3.11 and later on any Linux x86-64 with glibc 2.28 or newer, with the
# licences of all that is in it.
#
# zig links against the old glibc; it and maturin come from PyPI, into target/dist/tools.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu
dist=$PWD/target/dist
tools=$dist/wheel-tools
if [ ! -x "$tools/bin/maturin" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet 'maturin[zig]==1.16.0' ziglang==0.17.1 twine auditwheel
fi
export PATH="$tools/bin:$PATH"
python3 deploy/licences.py "$target" resnest-py > crates/resnest-py/python/resnest_rs/THIRD-PARTY.txt
trap 'rm -f crates/resnest-py/python/resnest_rs/THIRD-PARTY.txt' EXIT
rm -f "$dist"/resnest_rs-*.whl
(cd crates/resnest-py && maturin build --release --locked --zig --target "$target" --compatibility manylinux_2_28 \
    --compression-level 9 --out "$dist")
twine check --strict "$dist"/resnest_rs-*.whl
auditwheel show "$dist"/resnest_rs-*.whl
ls -l "$dist"/resnest_rs-*.whl
