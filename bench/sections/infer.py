"""One window through the model against ONNX Runtime, JAX, PyTorch and candle."""

import sys

from cases import MODELS, Model
from programs import Failure
from report import agreement, number, spread, summary, table, times
from rounds import Row
from suite import Suite

TITLE = "Inference of one window"
PEERS = ["ONNX Runtime", "JAX", "PyTorch", "candle"]
PROGRAMS = ["edgectl", *PEERS]
SHAPE = "batch,seq,channels,d_model,heads,layers,d_ff"


def run(suite: Suite) -> list[str]:
    counts = suite.thread_counts()
    rows = [measure(suite, s._replace(batch=1), counts) for s in suite.some(MODELS, 2)]
    head = [SHAPE, *(f"{name} µs" for name in PROGRAMS), *(f"ratio {name}" for name in PEERS), "quiet"]
    return [
        *table(head, [cells(row, counts) for row in rows])[1:],
        "Ratios, of the peer's median over edgectl's:",
        "",
        *(summary(peer, [ratio(row, peer, counts) for row in rows]) for peer in PEERS),
        "",
        f"Each program ran with {' and '.join(map(str, counts))} threads; of each, the setting with "
        "the least median counts and is named. ONNX Runtime runs the exported PyTorch module, "
        "PyTorch is eager in inference mode, candle uses the faster of its two attentions. "
        + agreement(rows),
    ]


def measure(suite: Suite, s: Model, counts: list[int]) -> Row:
    programs = suite.programs
    case = {"task": "infer", "shape": s}
    onnx = str(programs.folder / f"{s.label()}.onnx")
    try:
        programs.peer("pytorch", "export", 1, task="export", shape=s, path=onnx).prepare()
    except Failure as failure:
        print(f"no ONNX file: {failure}", file=sys.stderr)

    def contenders(t: int) -> list:
        return [
            programs.edgectl("infer", s, t, named("edgectl", t)),
            programs.peer("pytorch", named("PyTorch", t), t, module="module", **case),
            programs.peer("onnx", named("ONNX Runtime", t), t, path=onnx, **case),
            programs.peer("xla", named("JAX", t), t, **case),
            programs.candle("infer", s, t, named("candle", t)),
        ]

    return suite.measure(s.label(), [one for t in counts for one in contenders(t)])


def named(program: str, threads: int) -> str:
    return f"{program}, {threads} thread{'s' if threads > 1 else ''}"


def fastest(row: Row, program: str, counts: list[int]) -> str | None:
    return row.fastest([named(program, t) for t in counts])


def ratio(row: Row, peer: str, counts: list[int]) -> float | None:
    return row.ratio(fastest(row, "edgectl", counts), fastest(row, peer, counts))


def cells(row: Row, counts: list[int]) -> list[str]:
    def time(program: str) -> str:
        name = fastest(row, program, counts)
        if name is None:
            return "n/a"
        threads = name.removeprefix(f"{program}, ")
        return f"{spread(row, name)}, p99 {number(row.median(name, 'p99_us'))}, {threads}"

    ratios = [times(ratio(row, peer, counts)) for peer in PEERS]
    return [row.label, *(time(program) for program in PROGRAMS), *ratios, row.quiet()]
