#!/usr/bin/env bash
# Runs every test there is and prints the sum in the last line: `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

from=$SECONDS
tests/live/setup.sh
mkdir -p .work
log=.work/test.log
: >"$log"
status=0

step() {
    printf '\n== %s\n' "$*" | tee -a "$log"
    "$@" 2>&1 | tee -a "$log" || status=1
}

step cargo build --locked --all-targets
step cargo test --locked --no-fail-fast
step cargo test --locked --test instructions
step cargo test --locked --test oracle
step cargo test --locked --test live

echo
awk -v status="$status" -v seconds="$((SECONDS - from))" '
    /^test result: / {
        for (i = 1; i < NF; i++) {
            if ($(i + 1) == "passed;") passed += $i
            if ($(i + 1) == "failed;") failed += $i
            if ($(i + 1) ~ /^ignored/) ignored += $i
        }
    }
    /^test .* \.\.\. FAILED$/ { print "failed: " substr($0, 6, length($0) - 16) }
    END {
        # What fell over without a test to blame (it did not compile, say) is a failure too.
        if (status != 0 && failed == 0) failed = 1
        if (ignored > 0) printf "%d ignored: nothing here may be\n", ignored
        printf "in %d min %d s: %d passed, %d failed\n", seconds / 60, seconds % 60, passed, failed + ignored
        exit (failed + ignored > 0 || passed == 0)
    }' "$log"
