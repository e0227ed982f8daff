#!/usr/bin/env bash
# A release build that knows where its time goes (profile-guided optimisation): a build that counts, the bench's own work
# through it, and a build that was told: target/pgo/portcullis. `pgo.sh again` keeps the counts that are there.
#
# The compiler's own llvm-profdata is a part of its toolchain that need not be installed. Any other will do: the raw counts
# are put into LLVM's text form here, which every version reads, and a newer compiler reads an older index.
set -euo pipefail
cd "$(dirname "$0")/.."

triple="$(rustc -vV | sed -n 's/^host: //p')"
out="$PWD/target/pgo"
profile="$out/portcullis.profdata"

build() { # flags, folder
    RUSTFLAGS="$1" cargo build --locked --release --target "$triple" --target-dir "$2" --bin portcullis
}

if [ "${1:-}" != again ] || [ ! -e "$profile" ]; then
    own="$(rustc --print sysroot)/lib/rustlib/$triple/bin/llvm-profdata"
    merge="$([ -x "$own" ] && echo "$own" || command -v llvm-profdata || ls /usr/bin/llvm-profdata-* 2>/dev/null | tail -1 || true)"
    [ -n "$merge" ] || { echo "pgo: llvm-profdata is missing (Debian: llvm)" >&2; exit 1; }
    rm -rf "$out/raw"
    mkdir -p "$out/raw"
    echo "pgo: a build that counts"
    build "-Cprofile-generate=$out/raw" "$out/counting"
    echo "pgo: the bench's work through it"
    cargo build --locked --release --example load
    PORTCULLIS_BIN="$out/counting/$triple/release/portcullis" node benches/train.mjs
    node benches/lib/profile.mjs "$out/raw" >"$out/portcullis.proftext"
    "$merge" merge --output="$profile" "$out/portcullis.proftext"
    rm -rf "$out/raw"
fi
echo "pgo: a build that was told"
build "-Cprofile-use=$profile" "$out/told"
cp "$out/told/$triple/release/portcullis" "$out/portcullis"
ls -l "$out/portcullis"
