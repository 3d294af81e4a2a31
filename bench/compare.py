"""Compares edgectl with PyTorch, JAX, ONNX Runtime and candle on the same cores, in alternation.

    bench/run.sh [attention|train|optimizer|infer|scaling|merge|many|preprocess|all] [--rounds 5] [--write BENCHMARKS.md]
"""

import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # before anything loads a BLAS
    os.environ.pop(name, None)
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no compiler processes that stay
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import importlib
import shutil
import subprocess
from pathlib import Path

import report
from markers import write_section
from programs import Programs
from rounds import Rounds
from suite import Suite

ROOT = Path(__file__).resolve().parents[1]
ALL = ["attention", "train", "optimizer", "infer", "scaling"]
SECTIONS = [*ALL, "merge", "many", "preprocess"]
LEGEND = (
    "Times: median over rounds of each round's median, and the least and largest round. "
    "A ratio above 1: edgectl is faster."
)


def arguments() -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binaries = [target / "release" / "edgectl", target / "candle-peer" / "release" / "candle-peer"]
    about = "compare edgectl with other libraries"
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=about)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, "all"], default="all")
    parser.add_argument("--edgectl", default=str(binaries[0]), help="the binary")
    parser.add_argument("--candle", default=str(binaries[1]), help="the binary of bench/candle")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slot-s", type=float, default=2.0, help="seconds of each program's slot")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", help="CPUs to pin to, as 0,2; default the first --threads allowed")
    parser.add_argument("--write", type=Path, metavar="BENCHMARKS.md", help="Markdown file to update")
    parser.add_argument("--quick", action="store_true", help="try it: few cases, one short round")
    args = parser.parse_args()
    if shutil.which(args.edgectl) is None:
        parser.error(f"no program at {args.edgectl}; build it with cargo build --release -p edgectl")
    if args.quick:
        args.rounds, args.slot_s = 1, 0.05
    return args


def chosen(sections: list[str] | str) -> list[str]:
    """The sections to run; `all` leaves out the long ones."""
    wanted = ALL if "all" in sections else []
    return [name for name in SECTIONS if name in wanted or name in sections]


def main() -> None:
    args = arguments()
    allowed = sorted(os.sched_getaffinity(0))[: args.threads]
    cpus = [int(cpu) for cpu in args.cpus.split(",")] if args.cpus else allowed
    os.sched_setaffinity(0, cpus)  # children inherit it

    programs = Programs(args.edgectl, args.candle, cpus, args.slot_s)
    rounds = Rounds(programs, args.rounds, rest_s=0.0 if args.quick else 1.0)
    suite = Suite(programs, rounds, args.threads, args.quick)
    version = subprocess.run([args.edgectl, "--version"], stdout=subprocess.PIPE, text=True)
    candle_lock = ROOT / "bench" / "candle" / "Cargo.lock"
    how = f"{args.rounds} rounds, {args.slot_s:g} s a slot"
    how += ", a quick try: quote nothing" if args.quick else ""
    try:
        for name in chosen(args.sections):
            section = importlib.import_module(f"sections.{name}")
            packages = getattr(section, "PACKAGES", report.PACKAGES)
            versions = report.versions(version.stdout.strip(), candle_lock, packages)
            made = f"Made by `bench/run.sh {name} --write BENCHMARKS.md`."
            facts = report.facts(cpus, args.threads, versions, how)
            text = "\n".join([f"## {section.TITLE}", "", made, "", *facts, "", *section.run(suite)])
            text += f"\n\n{LEGEND}"
            print(text, flush=True)
            if args.write:
                write_section(args.write, name, text)
    finally:
        programs.stop()


if __name__ == "__main__":
    main()
