#!/usr/bin/env bash
# Takes each guard of tests/red out, one at a time, in a copy of the tree, and demands that the tests it names fail: a test
# that stays green without its guard shows nothing. `tests/red.sh [PART OF A NAME...]`; all of them otherwise.
#
# A file in tests/red names a guard, the file it stands in, its tests (`lib` or `gateway`, and the test's name), and what is
# written in the place of what. A text that is not there exactly once is an error: then the guard moved, and its file follows.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
work="$here/.work/red"
tree="$work/tree"
mkdir -p "$tree"
export CARGO_TARGET_DIR="$work/target"

# What is between two lines of a file, without the last end of line.
between() { sed -n "/^--- $2\$/,/^--- $3\$/p" "$1" | sed '1d;$d'; }

chosen() {
    local file=$1 part
    shift
    [ $# -eq 0 ] && return
    for part in "$@"; do
        case "$(basename "$file" .red)" in *"$part"*) return ;; esac
    done
    return 1
}

# Only what differs is written, so that cargo builds no more than it must.
refresh() {
    local file
    while IFS= read -r file; do
        cmp -s "$here/$file" "$tree/$file" || { mkdir -p "$(dirname "$tree/$file")" && cp "$here/$file" "$tree/$file"; }
    done < <(cd "$here" && find . \( -name node_modules -o -name target -o -name corpus -o -path ./.work -o -path ./.git -o -path ./tests/live/out \) -prune -o -type f -print)
}

guards=0 red=0 wrong=()
for file in tests/red/*.red; do
    chosen "$file" "$@" || continue
    name=$(basename "$file" .red)
    guards=$((guards + 1))
    refresh
    place=$(sed -n 's/^file: //p' "$file")
    old=$(between "$file" old new)
    new=$(between "$file" new end)
    text=$(cat "$here/$place")
    rest=${text#*"$old"}
    if [ "$rest" = "$text" ] || [[ "$rest" == *"$old"* ]]; then
        echo "red: $name: its text is not exactly once in $place"
        wrong+=("$name")
        continue
    fi
    printf '%s\n' "${text%%"$old"*}$new$rest" >"$tree/$place"
    failed=()
    while read -r suite test; do
        target=(--lib)
        [ "$suite" = lib ] || target=(--test "$suite")
        if ! (cd "$tree" && cargo test --locked --quiet "${target[@]}" --no-run >"$work/$name.log" 2>&1); then
            failed+=("it does not build: .work/red/$name.log")
            break
        fi
        # The test that hangs for want of its guard has failed too.
        (cd "$tree" && timeout 300 cargo test --locked "${target[@]}" -- "$test" >"$work/$name.log" 2>&1) && ended=0 || ended=$?
        grep -qE "^test (.*::)?$test " "$work/$name.log" || failed+=("no test $test")
        if [ "$ended" -ne 124 ] && ! grep -qE "^test (.*::)?$test .*FAILED" "$work/$name.log"; then
            failed+=("$test stays green")
        fi
    done < <(sed -n 's/^test: //p' "$file")
    if [ ${#failed[@]} -eq 0 ]; then
        red=$((red + 1))
        echo "red: $name: $(sed -n 's/^guard: //p' "$file")"
    else
        wrong+=("$name")
        printf 'red: %s: NOT RED: %s\n' "$name" "${failed[@]}"
    fi
done
refresh
echo "$guards guards, $red red"
[ "$guards" -gt 0 ] && [ ${#wrong[@]} -eq 0 ]
