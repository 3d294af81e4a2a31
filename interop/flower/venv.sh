#!/usr/bin/env bash
# Prints the path of a Python that has Flower, after making its virtual environment if needed.
# The environment lies at EDGECTL_FLOWER_VENV, or in the user's cache folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${EDGECTL_FLOWER_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/edgectl-flower-venv}
python=$venv/bin/python

if ! "$python" -c 'import flwr, numpy, ray' 2>/dev/null; then
    echo "installing Flower into $venv" >&2
    python3 -m venv "$venv" >&2
    "$python" -m pip install --quiet -r "$here/requirements.txt" >&2
fi
echo "$python"
