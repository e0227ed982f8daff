#!/usr/bin/env bash
# Flame graphs of this tree: `benches/flame.sh NAME`, into docs/flame/NAME-*.svg. A release build as `make release` makes it,
# with the profile if there is one, that keeps frame pointers for perf to follow (Debian: linux-perf).
set -euo pipefail
cd "$(dirname "$0")/.."
profile="$PWD/target/pgo/portcullis.profdata"
flags=-Cforce-frame-pointers=yes
[ -e "$profile" ] && flags="$flags -Cprofile-use=$profile"
RUSTFLAGS="$flags" cargo build --locked --release --target-dir target/flame --bin portcullis
cargo build --locked --release --example load
PORTCULLIS_BIN=target/flame/release/portcullis node benches/flame.mjs "$1"
