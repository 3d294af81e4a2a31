#!/usr/bin/env python3
"""Makes the seed files, in place: `python3 fuzz/corpus/make.py path/to/edgectl`."""

import json
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
EDGECTL = str(Path(sys.argv[1]).resolve())
WIDTHS = {"F32": 4, "F64": 8, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def save(folder, name, content):
    path = HERE / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def safetensors(tensors, metadata=None, value=0.5):
    """A file of tensors {name: (dtype, shape)}; floats are value and up, integers small."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape) in tensors.items():
        n = 1
        for size in shape:
            n *= size
        numbers = [value + i / 8 for i in range(n)]
        pack = {"F32": "f", "F64": "d", "F16": "e", "I64": "q", "I32": "i"}.get(dtype)
        if pack:
            numbers = [int(x) if pack in "qi" else x for x in numbers]
            bytes_ = struct.pack(f"<{n}{pack}", *numbers)
        elif dtype == "BF16":
            bytes_ = b"".join(struct.pack("<f", x)[2:] for x in numbers)
        else:
            bytes_ = bytes(i % 2 for i in range(n * WIDTHS[dtype]))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


MODEL = {"head.weight": ("F32", [3, 5]), "head.bias": ("F32", [3]), "norm": ("F16", [4]), "steps": ("I64", [1]), "mask": ("BOOL", [6])}
save("model", "base.safetensors", safetensors(MODEL))
for i, node in enumerate(["n1", "n2", "n3"]):
    # The floats of the head move; integers must be the same in all updates.
    changed = bytearray(safetensors(MODEL))
    start = 8 + struct.unpack("<Q", changed[:8])[0]
    for k in range(18):
        struct.pack_into("<f", changed, start + 4 * k, 0.5 + k / 8 + (i + 1) / 16)
    save(node, f"{node}.safetensors", bytes(changed))
MOVED = bytes(changed)

save("update", "unmoved.safetensors", safetensors(MODEL))
save("update", "moved.safetensors", MOVED)
save("update", "with-metadata.safetensors", safetensors(MODEL, {"format": "pt", "made_by": "someone"}))

save("weights", "model.safetensors", safetensors(MODEL))
save("weights", "with-metadata.safetensors", safetensors(MODEL, {"format": "pt", "made_by": "someone"}))
save("weights", "types.safetensors", safetensors({"a": ("F64", [2, 2]), "b": ("F32", []), "c": ("BF16", [3]), "d": ("F16", [0, 4]), "e": ("I32", [2]), "f": ("U8", [5]), "g": ("F8_E4M3", [2])}))
save("weights", "hole.safetensors", safetensors(MODEL)[:-1] + b"\0\0")
save("weights", "short.safetensors", safetensors(MODEL)[:-3])
save("weights", "claims.safetensors", struct.pack("<Q", 1 << 62) + b"{}")
save("weights", "empty-header.safetensors", safetensors({}))

ADAPTER = {
    "k.alpha": ("F32", []), "k.lora_down.weight": ("F16", [2, 3]), "k.lora_up.weight": ("F16", [4, 2]),
    "p.q.lora_A.weight": ("F32", [2, 5]), "p.q.lora_B.weight": ("F32", [3, 2]), "bias": ("F32", [3]),
}
save("adapter", "pairs.safetensors", safetensors(ADAPTER))
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}
save("adapter-config", "plain.json", json.dumps(CONFIG))
PATTERNS = {"r": 8, "use_rslora": True, "rank_pattern": {"p.q": 2}, "alpha_pattern": {"q": 2.5}}
save("adapter-config", "patterns.json", json.dumps({**CONFIG, **PATTERNS}, indent=2))

first, second = {"a": ("F32", [4]), "b": ("F32", [2, 2])}, {"c": ("F16", [6]), "d": ("I64", [1])}
shards = {"m-1.safetensors": first, "m-2.safetensors": second}
for name, tensors in shards.items():
    save(name.removesuffix(".safetensors"), name, safetensors(tensors, {"format": "pt"}))
weight_map = {tensor: name for name, tensors in shards.items() for tensor in tensors}
save("index", "plain.json", json.dumps({"weight_map": weight_map}))
save("index", "transformers.json", json.dumps({"metadata": {"total_size": 52}, "weight_map": weight_map}, indent=2))
save("index", "outside.json", json.dumps({"weight_map": {**weight_map, "z": "../z.safetensors"}}))

LONG = "series,t,label,split,x,y\n" + "".join(
    f"{s},{t},{['slow', 'fast'][s % 2]},{'train' if t < 6 else 'test'},{(t * 37 + s) % 11 / 4},{t * s % 7 - 2.5}\n" for s in range(3) for t in range(9)
)
save("csv", "long.csv", LONG)
save("csv", "nodes.csv", "node,series,t,label,x\na,1,0,1,0.5\na,1,1,1,\na,2,0,2,1e-3\nb,1,0,2,-4\nb,1,2,?,7\n")
save("csv", "wide.csv", "label,x0,x1,x2,y0,y1,y2\nup,1,2,3,4,5,6\ndown,6,5,4,3,2,1\n\"up\",0.5,?,1e3,,NaN,2\n")
save("csv", "semicolon.csv", "\ufefft;x;y\r\n0;1;2\r\n1;\"3\";4\r\n")
save("csv", "tab.csv", "t\tx\n0\t1\n1\t2\n")
save("csv", "ragged.csv", "t,x,y\n0,1\n1,2,3,4\n")
save("ts", "two.ts", "# a comment\n@problemName two\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n@equalLength true\n@seriesLength 3\n@classLabel true up down\n@data\n1,2,3:4,5,6:up\n3,?,1:6,5,4:down\n")
save("ts", "one.ts", "@univariate true\n@classLabel false\n@data\n1,2,3\n4,5\n")
save("ts", "bad.ts", "@dimensions 0\n@data\n1:2\n3\n")
save("arff", "one.arff", "% a comment\n@relation one\n@attribute att0 numeric\n@attribute 'att 1' real\n@attribute class {fast,slow}\n\n@data\n1,2,fast\n?,-4e1,'slow'\n3,4,?\n")
save("arff", "two.arff", "@relation two\n@attribute motion relational\n@attribute t0 numeric\n@attribute t1 numeric\n@end motion\n@attribute class {fast,slow}\n@data\n'1,2\\n3,4',fast\n\"5,?\\n7,8\",slow\n")
save("arff", "bad.arff", "@relation bad\n@attribute a string\n@data\nx\n")
save("jsonl", "long.jsonl", '{"t":0,"x":1.5,"acc":{"x":1,"y":[2,3]},"label":"fast"}\n{"t":1,"x":null,"label":"slow","acc":{"y":[1,2]}}\n\n{"t":2,"x":true}\n')
save("jsonl", "wide.jsonl", '{"p0":1,"p1":2,"label":"fast"}\n{"p0":-1e3,"p1":0.5,"label":"slow"}\n')
save("jsonl", "dates.jsonl", '{"timestamp":"2016-07-01 00:00:00","x":1}\n{"timestamp":"2016-07-01T01:00:00","x":2}\n')
save("jsonl", "bad.jsonl", '{"x":"1"}\n[1]\n{"x":1,"x":2}\n')

JOB = """\
[data]
path = "data"
[window]
len = 4
stride = 2
[[preprocess]]
step = "z-score"
[model]
patch_len = 2
d_model = 4
n_heads = 2
n_layers = 1
d_ff = 8
[train]
epochs = 1
batch = 4
lr = 3e-3
schedule = { name = "cosine", warmup = 0.1 }
[train.augment]
jitter = 0.05
[federation]
rounds = 3
server = { name = "sgd", lr = 1.0, momentum = 0.5 }
"""
save("job", "small.toml", JOB)
save("job", "empty.toml", "")
save("job", "choices.toml", """\
[data]
format = "long"
channels = ["x", "y"]
[model]
positions = "rotary"
pooling = "last"
attention = { mask = { sliding-window = { left = 31, right = 0 } } }
[[preprocess]]
step = "impute"
[train]
lr = "auto"
optimizer = { name = "adamw", weight_decay = 0.05 }
groups = [{ match = "head.*", lr_scale = 0.1 }]
trainable = ["head.*"]
label_smoothing = 0.1
[train.validation]
fraction = 0.2
by = "time"
[federation]
reduce = { name = "trimmed-mean", trim = 0.2 }
bucket = 2
keep_local = ["*norm*"]
""")
save("job", "wrong.toml", "[train]\nepoch = 3\n")

with tempfile.TemporaryDirectory() as folder:
    at = Path(folder)
    run = lambda *args: subprocess.run([EDGECTL, *args, "-q"], cwd=at, check=True, stdout=subprocess.DEVNULL)
    copy = lambda name, to, new: save(to, new, (at / name).read_bytes())
    (at / "data").mkdir()
    (at / "job.toml").write_text(JOB)
    (at / "data" / "n1.csv").write_text(LONG)
    run("init", "--config", "job.toml", "--out", "m.safetensors")
    run("train", "--init", "m.safetensors", "--data", "data/n1.csv", "--out", "n1.safetensors")
    run("train", "--init", "m.safetensors", "--data", "data/n1.csv", "--out", "part.safetensors", "--trainable", "head.*")
    run("aggregate", "n1.safetensors", "--base", "m.safetensors", "--out", "g.safetensors")
    for name in ["m", "n1", "part", "g"]:
        copy(f"{name}.safetensors", "checkpoint", f"{name}.safetensors")
    save("checkpoint", "foreign.safetensors", safetensors(MODEL))
    model = (at / "m.safetensors").read_bytes()
    # Models far larger than their file.
    for name, changes in {
        "wide": {'d_ff\\":8': 'd_ff\\":100000000'},
        "deep": {'n_layers\\":1': 'n_layers\\":1000000'},
        "long": {'seq_len\\":4': 'seq_len\\":100000000', '\\"len\\":4,\\"stride\\":2,': "", '"learned': '"sinusoidal'},
    }.items():
        length = struct.unpack("<Q", model[:8])[0]
        header = model[8 : 8 + length].decode()
        for old, new in changes.items():
            assert old in header, old
            header = header.replace(old, new)
        save("checkpoint", f"{name}.safetensors", struct.pack("<Q", len(header.encode())) + header.encode() + model[8 + length :])

    for node in ["n1", "n2", "n3"]:
        (at / f"{node}.safetensors").write_bytes((HERE / node / f"{node}.safetensors").read_bytes())
    merge = ["aggregate", "n1.safetensors", "n2.safetensors", "n3.safetensors"]
    for name, options in [
        ("adam", ["--server", "adam"]),
        ("private", ["--clip-norm", "1", "--noise-multiplier", "1.5", "--insecure-seed", "7"]),
    ]:
        (at / "base.safetensors").write_bytes(safetensors(MODEL))
        (at / "base.safetensors.server").unlink(missing_ok=True)
        run(*merge, "--base", "base.safetensors", "--out", "base.safetensors", *options)
        copy("base.safetensors", f"{name}-base", "base.safetensors")
        copy("base.safetensors.server", f"{name}-state", "state.server")
