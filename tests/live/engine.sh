#!/usr/bin/env bash
# A Docker engine for the live tests, and the tenant image in it.
#
#   engine.sh start    prints the engine's address: the one that runs already, or one of our own, started here
#   engine.sh images   builds the tenant image (and, where no registry is in reach, its base) unless it is there
#   engine.sh gateway  builds the gateway's own image, `portcullis`, from the Dockerfile at the top
#   engine.sh stop     stops the engine if it is our own
#   engine.sh sweep N  removes what containers the test process N left behind
#   engine.sh status   prints the address of the engine that is in use, or fails
#
# Everything of our own engine is below .work/docker. Messages go to stderr.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
work="${PORTCULLIS_WORK:-$root/.work}/docker"
tag=portcullis-tenant
base=debian:bookworm-slim

# A number of this tree's own, so that engines of two checkouts share no bridge, addresses or sockets.
number=$(( $(printf '%s' "$work" | cksum | cut -d' ' -f1) % 200 ))
bridge="pcl$number"
run="/run/portcullis-live-$number"
socket="$run/docker.sock"

say() { printf 'engine: %s\n' "$*" >&2; }
answers() { docker --host "$1" info >/dev/null 2>&1; }

address() {
    if [ -z "${PORTCULLIS_OWN_ENGINE:-}" ] && answers "${DOCKER_HOST:-unix:///var/run/docker.sock}"; then
        echo "${DOCKER_HOST:-unix:///var/run/docker.sock}"
    elif [ -S "$socket" ] && answers "unix://$socket"; then
        echo "unix://$socket"
    else
        return 1
    fi
}

start() {
    if address; then
        return
    fi
    mkdir -p "$work" "$run"
    ip link show "$bridge" >/dev/null 2>&1 || ip link add name "$bridge" type bridge
    ip addr show dev "$bridge" | grep -q 'inet ' || ip addr add "172.30.$number.1/24" dev "$bridge"
    ip link set "$bridge" up
    rm -f "$run/dockerd.pid"
    nohup dockerd --host "unix://$socket" --data-root "$work/data" --exec-root "$run/exec" --pidfile "$run/dockerd.pid" \
        --bridge "$bridge" --default-address-pool "base=172.31.$number.0/24,size=28" \
        --userland-proxy=false --log-level warn >"$work/dockerd.log" 2>&1 </dev/null &
    local pid=$!
    for _ in $(seq 1 300); do
        if answers "unix://$socket"; then
            say "started dockerd $(docker --host "unix://$socket" version --format '{{.Server.Version}}')"
            echo "unix://$socket"
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    say "dockerd did not start:" && tail -20 "$work/dockerd.log" >&2
    exit 1
}

stop() {
    local pid
    pid="$(cat "$run/dockerd.pid" 2>/dev/null || true)"
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        for _ in $(seq 1 150); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        ! kill -0 "$pid" 2>/dev/null || kill -9 "$pid"
        say "stopped our dockerd"
    fi
    ip link del "$bridge" 2>/dev/null || true
}

# The base image: pulled where a registry is in reach; else made here, by the machine's own apt settings.
make_base() {
    if docker image inspect "$base" >/dev/null 2>&1; then
        return
    fi
    if timeout 30 docker pull -q "$base" >/dev/null 2>&1; then
        say "pulled $base"
        return
    fi
    local tar="$work/base.tar"
    if [ ! -s "$tar" ]; then
        local mirror rootfs="$work/rootfs"
        mirror="$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -1)"
        rm -rf "$rootfs"
        # shellcheck disable=SC2086 # no mirror known: debootstrap's own default
        debootstrap --variant=minbase bookworm "$rootfs" ${mirror:-} >"$work/debootstrap.log" 2>&1
        # Certificates that this machine trusts, for a network that has its own.
        if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
            mkdir -p "$rootfs/usr/local/share/ca-certificates" "$rootfs/etc/ssl/certs"
            cp /usr/local/share/ca-certificates/*.crt "$rootfs/usr/local/share/ca-certificates/"
            cp /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/"
        fi
        rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/*
        tar -C "$rootfs" -c . >"$tar.part"
        mv "$tar.part" "$tar"
        rm -rf "$rootfs"
        say "made the base by debootstrap"
    fi
    docker import -c 'CMD ["bash"]' -c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' "$tar" "$base" >/dev/null
    say "imported $base"
}

images() {
    DOCKER_HOST="$(address)"
    export DOCKER_HOST DOCKER_BUILDKIT=0
    local want have arguments=() name
    want="$(cd "$root/examples" && find tenant node-red -type f | LC_ALL=C sort | xargs cat | cksum | tr ' ' -)"
    have="$(docker image inspect -f '{{index .Config.Labels "live-test.inputs"}}' "$tag" 2>/dev/null || true)"
    if [ "$want" = "$have" ]; then
        return
    fi
    make_base
    # The machine's own way to the package registries.
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
    done
    arguments+=(--build-arg "NPM_CONFIG_REGISTRY=$(cd / && npm config get registry 2>/dev/null)")
    local from=$SECONDS
    docker build -q -t "$tag" --label "live-test.inputs=$want" "${arguments[@]}" -f "$root/examples/tenant/Dockerfile" "$root/examples" >"$work.build.log" 2>&1 || {
        tail -30 "$work.build.log" >&2
        exit 1
    }
    say "built $tag in $((SECONDS - from)) s"
}

# The builder's base: pulled where a registry is in reach; else the plain base with the toolchain of this machine.
make_rust() {
    local wanted
    wanted="$(sed -n 's/^ARG RUST=//p' "$root/Dockerfile")"
    if docker image inspect "$wanted" >/dev/null 2>&1 || timeout 30 docker pull -q "$wanted" >/dev/null 2>&1; then
        echo "$wanted"
        return
    fi
    if ! docker image inspect portcullis-rust >/dev/null 2>&1; then
        local context
        context="$(mktemp -d)"
        printf 'FROM %s\nRUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*\nADD toolchain.tar /usr/local\n' \
            "$base" >"$context/Dockerfile"
        tar -C "$(cd "$root" && rustc --print sysroot)" --exclude=./share --exclude='*/src' -cf "$context/toolchain.tar" .
        docker build -q -t portcullis-rust "$context" >/dev/null
        rm -rf "$context"
        say "made a builder with this machine's toolchain"
    fi
    echo portcullis-rust
}

gateway() {
    DOCKER_HOST="$(start)"
    export DOCKER_HOST DOCKER_BUILDKIT=0
    make_base
    local rust
    rust="$(make_rust)"
    docker build -t portcullis --build-arg "RUST=$rust" "$root"
    say "built portcullis, on $DOCKER_HOST"
}

sweep() {
    local left
    DOCKER_HOST="$(address)"
    export DOCKER_HOST
    left="$(docker ps -aq --filter "label=live-test.pid=$1")"
    # shellcheck disable=SC2086 # several ids
    [ -z "$left" ] || docker rm -f -v $left >/dev/null
}

case "${1:-}" in
    start) start ;;
    images) images ;;
    gateway) gateway ;;
    stop) stop ;;
    status) address ;;
    sweep) sweep "$2" ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
