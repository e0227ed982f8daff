#!/usr/bin/env bash
# What takes hours: every guard taken out once, mutants of the pure rooms with their own unit tests, an hour of fuzzing, a
# million packets for the oracle, a thousand kills. A mutant that survives and that docs/mutants.md does not explain is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/.work/tools"
export PATH="$tools/bin:$PATH"
status=0

tests/red.sh || status=1

command -v cargo-mutants >/dev/null 2>&1 || cargo install --quiet --locked --root "$tools" cargo-mutants

# Without the line and the column, which move with every change.
nameless() { sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' "$1" | sort -u; }
explained="$(sed -n 's/^- `\(src\/.*\)`$/\1/p' docs/mutants.md | sort -u)"

rooms=(authz token intake signin socket)
for room in "${rooms[@]}"; do
    echo "soak: mutants of $room"
    # 2: some survived, 3: some took too long; the list says which, and anything else is a failure of its own.
    ended=0
    # In a copy of the tree, which cargo mutants makes and removes: a soak that is broken off leaves no mutant in the sources.
    # What is built stays, so that only our own crate is built again, and of that only the unit tests.
    CARGO_TARGET_DIR="$PWD/.work/mutants-target" cargo mutants --gitignore=true --no-shuffle --output ".work/mutants-$room" --timeout 120 \
        --cargo-arg=--locked --cargo-arg=--lib \
        --file "src/$room.rs" --file "src/$room/**/*.rs" -- "$room::" || ended=$?
    [ "$ended" -eq 0 ] || [ "$ended" -eq 2 ] || [ "$ended" -eq 3 ] || status=1
    unexplained="$(comm -23 <(nameless ".work/mutants-$room/mutants.out/missed.txt") <(printf '%s\n' "$explained"))"
    if [ -n "$unexplained" ]; then
        echo "soak: survivors in $room that docs/mutants.md does not explain:"
        printf '%s\n' "$unexplained" | sed 's/^/    /'
        status=1
    fi
done
fuzz/run.sh 600 || status=1
# A million packets that no run has tried before.
PORTCULLIS_PACKETS=1000000 PORTCULLIS_SEED="$(date +%s)000000" cargo test --locked --test oracle || status=1
PORTCULLIS_KILLS=1000 PORTCULLIS_CEREMONY_KILLS=200 cargo test --locked --test live -- crash ceremonies || status=1
exit "$status"
