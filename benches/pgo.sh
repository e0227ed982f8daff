#!/usr/bin/env bash
# A release build that knows where its time goes (profile-guided optimisation): a build that counts, the bench's own work
# through it, a build that was told, and its code laid out by what ran: target/pgo/portcullis. `pgo.sh again` keeps the
# counts that are there.
#
# The compiler's own llvm-profdata is a part of its toolchain that need not be installed. Any other will do: the raw counts
# are put into LLVM's text form here, which every version reads, and a newer compiler reads an older index.
set -euo pipefail
cd "$(dirname "$0")/.."

triple="$(rustc -vV | sed -n 's/^host: //p')"
out="$PWD/target/pgo"
profile="$out/portcullis.profdata"

build() { # flags, folder, flags of the last link alone...
    RUSTFLAGS="$1" cargo rustc --locked --release --target "$triple" --target-dir "$2" --bin portcullis -- "${@:3}"
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
made="$out/told/$triple/release/portcullis"
# (With the relocations kept, for what follows; only the last link is told, so that nothing else is built anew.)
build "-Cprofile-use=$profile" "$out/told" -Clink-arg=-Wl,-q

# The code is laid out anew by where the time goes: what runs together lies together, what never runs lies elsewhere
# (BOLT, a part of LLVM; Debian: bolt-NN). Where it is not there, or cannot, the binary stays as the linker laid it out.
bolt="$(command -v llvm-bolt || ls /usr/bin/llvm-bolt-[0-9]* 2>/dev/null | sort -V | tail -1 || true)"
lay_out() {
    echo "pgo: the same work once more, for where the code should lie"
    local raw="$out/layout"
    rm -rf "$raw"
    mkdir -p "$raw"
    "$bolt" "$made" -instrument -o "$raw/counting" --instrumentation-file="$raw/counts" \
        --instrumentation-file-append-pid >"$raw/log" 2>&1 || return 1
    PORTCULLIS_BIN="$raw/counting" node benches/train.mjs || return 1
    "$(dirname "$(readlink -f "$bolt")")/merge-fdata" "$raw"/counts.*.fdata >"$raw/merged" 2>>"$raw/log" || return 1
    "$bolt" "$made" -o "$raw/portcullis" -data="$raw/merged" -reorder-blocks=ext-tsp -reorder-functions=cdsort \
        -split-functions -split-all-cold -split-eh -icf=1 -use-gnu-stack >>"$raw/log" 2>&1 || return 1
    "$raw/portcullis" --version >/dev/null || return 1
    mv "$raw/portcullis" "$out/portcullis"
    rm -rf "$raw"
}
if [ "$out/portcullis" -nt "$made" ]; then
    echo "pgo: nothing has changed"
elif [ -z "$bolt" ] || ! lay_out; then
    echo "pgo: as the linker laid it out${bolt:+; $out/layout/log says why}" >&2
    cp "$made" "$out/portcullis"
fi
ls -l "$out/portcullis"
