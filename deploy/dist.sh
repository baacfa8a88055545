#!/usr/bin/env bash
# Makes target/dist/resnest-<version>-x86_64-unknown-linux-gnu.tar.gz and its .sha256: the command for any Linux with
# glibc 2.28 or newer (Debian 10, RHEL 8, Ubuntu 20.04), its man pages, shell completions and licences.
#
# zig links against the old glibc; it and cargo-zigbuild come from PyPI, into target/dist/tools.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu
glibc=2.28
dist=target/dist
tools=$dist/tools
if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.1
fi
export PATH="$PWD/$tools/bin:$PATH"

# The example writes man pages and completions, so that the command need not carry what makes them.
cargo zigbuild --release --locked --package resnest-cli --bin resnest --example pages --target "$target.$glibc"
built=target/$target/release

version=$("$built/resnest" --version | cut -d' ' -f2)
name=resnest-$version-$target
rm -rf "${dist:?}/$name"
mkdir -p "$dist/$name"
cp "$built/resnest" README.md LICENSE-MIT LICENSE-APACHE "$dist/$name"
"$built/examples/pages" "$dist/$name"
python3 deploy/licences.py "$target" > "$dist/$name/THIRD-PARTY.txt"

# names, owners and times that do not depend on who packs
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    -C "$dist" -cf - "$name" | gzip -n9 > "$dist/$name.tar.gz"
(cd "$dist" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
ls -l "$dist/$name.tar.gz"
