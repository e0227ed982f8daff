#!/usr/bin/env bash
# The one gate for style and supply: stops at the first thing that is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/.work/tools"
export PATH="$tools/bin:$PATH"

say() { printf 'lint: %s\n' "$*"; }
tool() { # crate command
    command -v "$2" >/dev/null 2>&1 && return
    say "installing $1 into .work/tools"
    cargo install --quiet --locked --root "$tools" "$1"
}

say fmt
cargo fmt --check
say clippy
cargo clippy --locked --quiet --all-targets -- -D warnings
# Only built when asked for by name.
cargo clippy --locked --quiet --test live --test instructions --test oracle -- -D warnings
say doc
RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --document-private-items
say "one crypto provider"
for other in ring openssl-sys native-tls; do
    # Silence means that nothing depends on it; an unknown package is an error of cargo's, and as good.
    if tree="$(cargo tree --locked --edges normal --invert "$other" 2>/dev/null)" && [ -n "$tree" ]; then
        say "$other is in the binary:"
        printf '%s\n' "$tree"
        exit 1
    fi
done
cargo tree --locked --edges normal --invert aws-lc-rs >/dev/null
say shell
for script in tests/*.sh tests/live/*.sh fuzz/*.sh .ci/run; do
    [ ! -e "$script" ] || bash -n "$script"
done
if [ -d tests/live/node_modules ]; then
    for script in tests/live/*.mjs tests/live/lib/*.mjs tests/oracle/*.mjs benches/*.mjs benches/*/*.mjs; do
        node --check "$script"
    done
fi
tool cargo-deny cargo-deny
say deny
cargo deny --locked --log-level error check bans licenses sources
# The advisory database lies elsewhere; where it cannot be reached, that is said and not held against the code.
if cargo deny --locked --log-level error fetch db >/dev/null 2>&1; then
    cargo deny --locked --log-level error check advisories
else
    say "the advisory database is not in reach: advisories were not checked"
fi
tool typos-cli typos
say typos
typos
say fine
