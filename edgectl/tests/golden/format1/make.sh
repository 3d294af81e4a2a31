#!/usr/bin/env bash
# Makes the files of this folder with an edgectl that writes checkpoints of format 1:
#   ./make.sh path/to/edgectl
# They are kept as that program wrote them. Made again only if a file of another kind is to be added,
# and then with the same binary: version 0.1.0, before there was another format.
set -euo pipefail
edgectl=$(realpath "$1")
cd "$(dirname "$0")"
rm -rf data scaffold server interrupted answers ./*.safetensors ./*.toml
mkdir data scaffold server interrupted answers

# Three nodes, four series each: slow and fast triangle waves; the last 20 rows are for the test.
for node in 1 2 3; do
    awk -v node="$node" '
        function wave(p) { p %= 40; return (p < 20 ? 20 - p : p - 20) / 10 - 1 }
        BEGIN {
            print "series,t,label,split,x,y"
            for (s = 0; s < 4; s++) for (t = 0; t < 48 + 4 * node; t++) {
                phase = (s % 2 ? 7 : 2) * t + 13 * node + 7 * s
                noise = (t * 7919 + node * 31 + s * 17) % 23 / 40
                split_name = t < 28 + 4 * node ? "train" : "test"
                label = s % 2 ? "fast" : "slow"
                printf "%d,%d,%s,%s,%.2f,%.2f\n", s, t, label, split_name,
                    wave(phase) + noise, 2 * wave(phase + 10) - noise
            }
        }' >"data/node_$node.csv"
done

cat >job.toml <<'JOB'
[data]
path = "data"
[window]
len = 20
stride = 10
[[preprocess]]
step = "z-score"
[model]
patch_len = 4
d_model = 8
n_heads = 2
n_layers = 1
d_ff = 8
dropout = 0.1
[train]
epochs = 10
batch = 8
lr = 1e-2
schedule = { name = "cosine" }
[train.augment]
jitter = 0.05
shift = 3
[federation]
rounds = 4
server = { name = "sgd", lr = 1.0, momentum = 0.5 }
JOB
sed -e 's/^server.*/correction = "scaffold"\nweights = "uniform"\npopulation = 3/' \
    -e 's/^lr = 1e-2/lr = 3e-2\noptimizer = { name = "sgd" }/' job.toml >scaffold/job.toml
sed -i 's|path = "data"|path = "../data"|' scaffold/job.toml

train() { "$edgectl" train --quiet --init "$1" --data "data/node_$2.csv" --out "$3" "${@:4}"; }

"$edgectl" init --config job.toml --out global.safetensors
train global.safetensors 1 update.safetensors
train global.safetensors 2 other.safetensors
train global.safetensors 3 partial.safetensors --trainable 'blocks.*.attn.*'
"$edgectl" aggregate update.safetensors other.safetensors partial.safetensors \
    --base global.safetensors --out merged.safetensors --strategy fedavg

# A center in the middle of its rounds, with its memory.
cp global.safetensors server/global.safetensors
"$edgectl" aggregate update.safetensors other.safetensors \
    --base server/global.safetensors --out server/global.safetensors --strategy job

# The second round of SCAFFOLD: the center's variate in the model, a node's beside its update.
"$edgectl" init --config scaffold/job.toml --data data --out scaffold/global.safetensors
for node in 1 2; do train scaffold/global.safetensors $node scaffold/node_$node.safetensors; done
"$edgectl" aggregate scaffold/node_*.safetensors --strategy job \
    --base scaffold/global.safetensors --out scaffold/global.safetensors
for node in 1 2; do train scaffold/global.safetensors $node scaffold/node_$node.safetensors; done
rm -f scaffold/node_*.state scaffold/node_2.safetensors.variate

train global.safetensors 1 interrupted/run.safetensors --epochs 400 --time-budget 4ms
rm -f ./*.state

for model in global update merged server/global scaffold/global scaffold/node_1 interrupted/run; do
    name=${model//\//-}
    "$edgectl" eval --json --model $model.safetensors --data data >"answers/$name.json"
done
for model in global merged scaffold/global; do
    name=${model//\//-}
    "$edgectl" predict --quiet --model $model.safetensors --data data/node_3.csv \
        --out "answers/$name.csv"
done
