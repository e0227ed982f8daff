#!/usr/bin/env bash
# What takes hours: mutants of the pure rooms with their own unit tests, an hour of fuzzing, a thousand kills.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/.work/tools"
export PATH="$tools/bin:$PATH"
command -v cargo-mutants >/dev/null 2>&1 || cargo install --quiet --locked --root "$tools" cargo-mutants

rooms=(intake token authz signin socket)
for room in "${rooms[@]}"; do
    echo "soak: mutants of $room"
    cargo mutants --in-place --no-shuffle --output ".work/mutants-$room" --timeout 120 \
        --file "src/$room.rs" --file "src/$room/**/*.rs" -- --lib "$room::" || true
    echo "soak: survivors in $room:"
    sed 's/^/    /' ".work/mutants-$room/mutants.out/missed.txt"
done
if [ -x fuzz/run.sh ]; then
    fuzz/run.sh 600
fi
PORTCULLIS_KILLS=1000 cargo test --locked --test live -- crash
