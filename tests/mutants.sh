#!/usr/bin/env bash
# Mutants of one room with its own unit tests: `tests/mutants.sh ROOM [FILE...]`, of all its files or of some. A mutant that
# survives and that docs/mutants.md does not explain is a failure. In a copy of the tree that ends with the room: a module uses
# only those above it in src/lib.rs, so what stands below need not be built for each of a thousand mutants.
set -euo pipefail
cd "$(dirname "$0")/.."
room=$1
shift
only=()
for file in "${@:-src/$room.rs}"; do only+=(--file "$file"); done
[ $# -gt 0 ] || only+=(--file "src/$room/**/*.rs")
tools="$PWD/.work/tools"
export PATH="$tools/bin:$PATH"
command -v cargo-mutants >/dev/null 2>&1 || cargo install --quiet --locked --root "$tools" cargo-mutants

copy="$PWD/.work/mutants/$room"
rm -rf "$copy/src"
mkdir -p "$copy"
cp -r src "$copy/"
# What the sources include stands beside them.
cp -r Cargo.lock rust-toolchain.toml config web certs askama.toml "$copy/"
mkdir -p "$copy/tests"
cp -r tests/fixtures tests/configs "$copy/tests/"
# Nor are the other rooms' tests; what they lend to this one's (fixtures) stays.
find "$copy/src" -name '*.rs' ! -path "$copy/src/$room.rs" ! -path "$copy/src/$room/*" -exec sed -i -E \
    '/^#\[cfg\(test\)\]$/{N;/\n(pub\((crate|super)\) )?mod ([a-z]+_)?tests;$/d;/\n(pub\((crate|super)\) )?mod ([a-z]+_)?tests \{$/{s/.*//;q}}' {} \;
# The library alone, without what only debuggers want.
sed '/^\[\[\(bin\|test\|bench\|example\)\]\]/,/^$/d; s/^debug = 1$/debug = false/' Cargo.toml >"$copy/Cargo.toml"
rm -f "$copy/src/main.rs"
sed -i "/^pub mod $room;$/q" "$copy/src/lib.rs"

ended=0
# (What only the rooms below use is dead here, and no warning.)
(cd "$copy" && CARGO_TARGET_DIR="${MUTANTS_TARGET:-$PWD/../target}" RUSTFLAGS="--cap-lints allow" cargo mutants --in-place --no-shuffle --output . \
    --timeout 30 --cargo-arg=--lib "${only[@]}" -- "$room::") || ended=$?
# 2: some survived, 3: some took too long; the lists say which, and anything else is a failure of its own.
case $ended in 0 | 2 | 3) ;; *) exit 1 ;; esac

# Without the line and the column, which move with every change.
nameless() { sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' "$1" | sort -u; }
explained="$(sed -n 's/^- `\(src\/.*\)`$/\1/p' docs/mutants.md | sort -u)"
(cd "$copy/mutants.out" && wc -l caught.txt missed.txt timeout.txt unviable.txt)
unexplained="$(comm -23 <(nameless "$copy/mutants.out/missed.txt") <(printf '%s\n' "$explained"))"
if [ -n "$unexplained" ]; then
    printf 'mutants: survivors in %s that docs/mutants.md does not explain:\n%s\n' "$room" "$unexplained"
    exit 1
fi
