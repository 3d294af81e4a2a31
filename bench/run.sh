#!/usr/bin/env bash
# Builds edgectl and compares it with other libraries; `bench/run.sh --help` lists the arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

venv=${EDGECTL_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/edgectl-bench-venv}
python=$venv/bin/python
needed='jax, numpy, onnx, onnxruntime, onnxscript, optax, safetensors, torch'
candle=yes signal='numpy, pandas, polars, pyarrow, safetensors, scipy, sklearn'
case " $* " in
    *" attention "* | *" train "* | *" optimizer "* | *" infer "* | *" scaling "* | *" merge "* | *" many "* | *" all "*)
        case " $* " in *" preprocess "*) needed="$needed, $signal" ;; esac
        ;;
    *" preprocess "*) needed=$signal candle=no ;; # needs none of the others
esac
case "${1-}" in
    accuracy | ablations | federated | tune) learning=$1 needed='numpy, safetensors, torch' candle=no ;;
    *) learning= ;;
esac
if ! "$python" -c "import $needed" 2>/dev/null; then
    echo "installing the Python libraries into $venv" >&2
    [ -x "$python" ] || python3 -m venv "$venv" >&2
    "$python" -m pip install --quiet -r bench/requirements.txt >&2
fi

case " $* " in
    *" merge "*) # each beside the other libraries, whose versions its pins could change
        flwr=${venv%-venv}-flwr-venv mergekit=${venv%-venv}-mergekit-venv
        if ! "$flwr/bin/python" -c 'import flwr, safetensors' 2>/dev/null; then
            echo "installing Flower into $flwr" >&2
            { python3 -m venv "$flwr" && "$flwr/bin/python" -m pip install --quiet flwr safetensors; } >&2 ||
                echo "Flower cannot be installed here: it will be n/a" >&2
        fi
        if ! "$mergekit/bin/python" -c 'import mergekit, torch' 2>/dev/null; then
            echo "installing mergekit into $mergekit" >&2
            {
                packages='import sysconfig; print(sysconfig.get_path("purelib"))'
                python3 -m venv "$mergekit" &&
                    own=$("$mergekit/bin/python" -c "$packages") &&
                    "$python" -c "$packages" >"$own/edgectl-bench.pth" && # PyTorch from there
                    "$mergekit/bin/python" -m pip install --quiet mergekit
            } >&2 || echo "mergekit cannot be installed here: it will be n/a" >&2
        fi
        ;;
esac

build=yes
for argument in "$@"; do
    case "$argument" in
        --edgectl* | -h | --help) build=no ;; # the caller brings a binary
    esac
done
[ -z "$learning" ] || [ -z "${EDGECTL-}" ] || build=no
if [ "$build" = yes ]; then
    cargo build --release -p edgectl
    case " $* " in
        *" preprocess "*) cargo build --release -p preprocess --example speed ;;
    esac
fi
if [ -n "$learning" ]; then # how well models learn: scripts of their own, which take the binary first
    shift
    exec "$python" "bench/$learning.py" "${EDGECTL:-target/release/edgectl}" "$@"
fi
case " $* " in
    *" --candle"* | *" -h "* | *" --help "*) ;;
    *)
        [ "$candle" = no ] ||
            cargo build --release --locked --manifest-path bench/candle/Cargo.toml \
                --target-dir "${CARGO_TARGET_DIR:-target}/candle-peer" ||
                echo "candle does not build here: it will be n/a" >&2
        ;;
esac
exec "$python" bench/compare.py "$@"
