#!/usr/bin/env bash
# Stays on each target for so many seconds: `fuzz/run.sh [SECONDS] [TARGET...]`. Says for each how much it ran and what of
# the code it reached; fails on whatever falls over and shows the input. At the end it proves itself: a bug is planted in
# the socketio target, and one that is not found is a failure too.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
shift || true
triple=$(rustc -vV | sed -n 's/^host: //p')
built=target/$triple/release
logs=target/logs
mkdir -p "$logs"
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cd fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
fi

echo "fuzz: building (the first time takes minutes: every crate is built with counters)"
nice -n 10 cargo build --quiet --locked --release --target "$triple" --features planted --bin socketio
cp "$built/socketio" target/planted
nice -n 10 cargo build --quiet --locked --release --target "$triple" --bins

# Runs the program $1 as the target $2, under the name $3.
stay() {
    local program=$1 target=$2 name=$3
    mkdir -p "corpus/$name" "artifacts/$name"
    local words=()
    [ -f "dictionaries/$target.dict" ] && words=(-dict="dictionaries/$target.dict")
    nice -n 10 "$program" "corpus/$name" "seeds/$target" "${words[@]}" -artifact_prefix="artifacts/$name/" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
        -verbosity=1 >"$logs/$name.log" 2>&1
}

# One line of figures; where it fell over, the reason and the input.
tell() {
    local name=$1 status=$2
    awk -v name="$name" '
        /inline 8-bit counters/ { for (i = 1; i < NF; i++) if ($(i + 1) == "inline") { all = $i; sub(/^\(/, "", all) } }
        / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1); if ($i == "corp:") corp = $(i + 1) } }
        /^stat::number_of_executed_units/ { execs = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        END { sub("/.*", "", corp); printf "%-12s %12d execs %8d /s   cov %6d of %d   ft %6d   corpus %5d\n", name, execs, rate, cov, all, ft, corp }
    ' "$logs/$name.log"
    [ "$status" -eq 0 ] && return
    echo "fuzz: $name fell over:"
    grep -aE -A2 'panicked at|ERROR: libFuzzer' "$logs/$name.log" | sed 's/^/    /' || true
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$logs/$name.log" | tail -1)
    if [ -n "$input" ]; then
        echo "    input: fuzz/$input"
        head -c 2000 "$input" | od -An -c | head -40 | sed 's/^/    /'
        echo "    again: (cd fuzz && $built/$name $input)"
    fi
}

one() {
    local status=0
    stay "$built/$1" "$1" "$1" || status=$?
    echo "$status" >"$logs/$1.status"
}
export -f stay one
export seconds logs built

echo "fuzz: ${#targets[@]} targets, $seconds s each, $(nproc) at a time"
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'one {}'
failed=0
for target in "${targets[@]}"; do
    status=$(cat "$logs/$target.status")
    tell "$target" "$status"
    [ "$status" -eq 0 ] || failed=$((failed + 1))
done

# The planted bug, from the seeds alone: what was found before must not help.
rm -rf corpus/planted artifacts/planted
if stay target/planted socketio planted; then
    tell planted 0
    echo "fuzz: the planted bug was NOT found in $seconds s"
    failed=$((failed + 1))
elif grep -aqE 'goes (up|down): ' "$logs/planted.log"; then
    after=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/planted.log")
    echo "fuzz: the planted bug was found after ${after:-?} execs:"
    grep -a -A1 'panicked at' "$logs/planted.log" | tail -1 | cut -c1-200 | sed 's/^/    /'
else
    tell planted 1
    echo "fuzz: something else than the planted bug was found"
    failed=$((failed + 1))
fi
echo "fuzz: ${#targets[@]} targets, $failed failed"
[ "$failed" -eq 0 ]
