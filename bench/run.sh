#!/usr/bin/env bash
# Builds edgectl and compares its training step with PyTorch's; arguments go to train_step.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

python=$(interop/pytorch/venv.sh)
case " $* " in
    *" --edgectl"*) ;; # the caller brings a binary
    *) cargo build --release -p edgectl ;;
esac
exec "$python" bench/train_step.py "$@"
