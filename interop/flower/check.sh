#!/usr/bin/env bash
# Three rounds of two nodes under Flower, with the simulation engine and with a TLS deployment on loopback,
# compared byte by byte with edgectl by hand. EDGECTL names the binary; without it, one is built.
# check.sh simulation, or check.sh deployment, does one of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
kinds=("$@")
[ $# -gt 0 ] || kinds=(simulation deployment)

python=$("$here/venv.sh")
PATH=$(dirname "$python"):$PATH
if [ -z "${EDGECTL:-}" ]; then
    (cd "$root" && cargo build --release --quiet -p edgectl)
    EDGECTL=${CARGO_TARGET_DIR:-$root/target}/release/edgectl
fi
EDGECTL=$(realpath "$EDGECTL")

tmp=$(mktemp -d /tmp/edgectl-flower.XXXXXX)   # a short name: Ray puts sockets there
# All that Flower writes goes there, and nothing is told to anybody or fetched.
export EDGECTL PATH FLWR_HOME=$tmp/flwr TMPDIR=$tmp RAY_TMPDIR=$tmp EDGECTL_THREADS=1
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 RAY_USAGE_STATS_ENABLED=0
mkdir -p "$FLWR_HOME"

groups=()
stop() {
    local signal group
    [ "${#groups[@]}" -gt 0 ] || return 0
    for signal in TERM KILL; do
        for group in "${groups[@]}"; do kill -"$signal" -- -"$group" 2>/dev/null || true; done
        for _ in $(seq 25); do
            for group in "${groups[@]}"; do kill -0 -- -"$group" 2>/dev/null && break; done || break
            sleep 0.2
        done
    done
    groups=()
}
finish() {
    local code=$?
    stop
    if [ "$code" -ne 0 ]; then tail -n 30 "$tmp"/*.log >&2 2>/dev/null || true; fi
    rm -rf "$tmp"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start LOG PROGRAM ARGS…: in the background, as a group of its own, so that its children end with it.
start() {
    local log=$tmp/$1.log
    shift
    setsid "$@" >"$log" 2>&1 &
    groups+=($!)
}
free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# answers PORT: waits until something listens there.
answers() {
    for _ in $(seq 150); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.2
    done
    echo "nothing answers on port $1" >&2
    return 1
}

(cd "$here" && python -m unittest --quiet test_app)

rounds=3
data="$root/data/watch/subject_0[12].csv"
sed "s/^rounds = .*/rounds = $rounds/" "$root/examples/watch.toml" >"$tmp/job.toml"
# run KIND OPTIONS…: the app on the SuperLink of that name, then the comparison.
run() {
    local kind=$1 began=$SECONDS
    shift
    (cd "$here" && flwr run . "$kind" --stream "$@" \
        --run-config "rounds=$rounds job=\"$tmp/job.toml\" data=\"$data\" out=\"$tmp/$kind\" keep-updates=true") \
        2>&1 | tee "$tmp/run-$kind.log"
    echo "$kind: $((SECONDS - began)) s"
    PYTHONPATH=$here python "$here/check.py" --edgectl "$EDGECTL" --job "$tmp/job.toml" --data "$data" \
        --run "$tmp/$kind" --rounds "$rounds"
}

simulation() {
    local port
    port=$(free_port)
    printf '[superlink]\ndefault = "simulation"\n[superlink.simulation]\naddress = "127.0.0.1:%s"\ninsecure = true\n' \
        "$port" >"$FLWR_HOME/config.toml"
    EDGECTL_DATA=$data start superlink-simulation flower-superlink --simulation --insecure \
        --disable-runtime-dependency-installation --host 127.0.0.1 --port "$port"
    answers "$port"
    run simulation --federation-config 'num-supernodes=2 init-args-num-cpus=2'
}

deployment() {
    local port node number
    port=$(free_port)
    # Our own authority, and a certificate for loopback that it signed.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=check CA" \
        -keyout "$tmp/ca.key" -out "$tmp/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
        -keyout "$tmp/server.key" -out "$tmp/server.csr" 2>/dev/null
    openssl x509 -req -in "$tmp/server.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -CAcreateserial -days 2 \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$tmp/server.pem" 2>/dev/null
    local tls=(--ssl-certfile "$tmp/server.pem" --ssl-keyfile "$tmp/server.key" --ssl-ca-certfile "$tmp/ca.pem")

    printf '[superlink]\ndefault = "deployment"\n[superlink.deployment]\naddress = "127.0.0.1:%s"\nroot-certificates = "%s"\n' \
        "$port" "$tmp/ca.pem" >"$FLWR_HOME/config.toml"
    start superlink-deployment flower-superlink "${tls[@]}" --enable-supernode-auth \
        --disable-runtime-dependency-installation --host 127.0.0.1 --port "$port" --database "$tmp/superlink.db"
    answers "$port"
    for number in 1 2; do
        node=$tmp/node-$number
        ssh-keygen -q -t ecdsa -b 256 -N '' -C '' -f "$node"
        flwr supernode register "$node.pub" deployment
        start "supernode-$number" flower-supernode --superlink "127.0.0.1:$port" --root-certificates "$tmp/ca.pem" \
            --auth-supernode-private-key "$node" "${tls[@]}" --host 127.0.0.1 --port "$(free_port)" \
            --node-config "data=\"$root/data/watch/subject_0$number.csv\""
    done
    # A node that nobody registered, with the name of another and its data: it must not be heard.
    ssh-keygen -q -t ecdsa -b 256 -N '' -C '' -f "$tmp/stranger"
    start stranger flower-supernode --superlink "127.0.0.1:$port" --root-certificates "$tmp/ca.pem" \
        --auth-supernode-private-key "$tmp/stranger" "${tls[@]}" --host 127.0.0.1 --port "$(free_port)" \
        --node-config "data=\"$root/data/watch/subject_01.csv\"" --max-retries 1
    run deployment
    grep -q 'Failed to activate SuperNode' "$tmp/stranger.log"
}

for kind in "${kinds[@]}"; do
    case $kind in
        simulation | deployment) "$kind" ;;
        *) echo "check.sh [simulation] [deployment]" >&2 && exit 2 ;;
    esac
    stop
done
