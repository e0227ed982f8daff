#!/usr/bin/env bash
# What takes hours: every guard taken out once, mutants of the pure rooms with their own unit tests, an hour of fuzzing, a
# million packets for the oracle, a thousand kills. A mutant that survives and that docs/mutants.md does not explain is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0

tests/red.sh || status=1

for room in authz token intake signin socket; do
    echo "soak: mutants of $room"
    tests/mutants.sh "$room" || status=1
done
fuzz/run.sh 600 || status=1
# A million packets that no run has tried before.
PORTCULLIS_PACKETS=1000000 PORTCULLIS_SEED="$(date +%s)000000" cargo test --locked --test oracle || status=1
PORTCULLIS_KILLS=1000 PORTCULLIS_CEREMONY_KILLS=200 cargo test --locked --test live -- crash ceremonies || status=1
exit "$status"
