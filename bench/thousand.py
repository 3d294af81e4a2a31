"""A center and 1,000 nodes: `thousand.py EDGECTL THOUSAND [--store both] [--weed weed] [--write BENCHMARKS.md]`.

EDGECTL is the binary, THOUSAND the example `edgectl/examples/thousand.rs`, which stands for the nodes: real updates of a
model of some 200 KB with other noise each, signed, by 32 writers. A center runs beside it as a process, by mean and by trimmed
mean. Measured is what the center takes from the last commit to the result, once as it collected while they came and once
as it was killed before and finds all of them there; its peak memory, beside that of `edgectl aggregate` on the same files; and
what `status` and a poll take after few rounds and after many. `weed` is SeaweedFS's program (`fleet.py` says more).
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from fleet import CannotTry, Folder, SeaweedFs
from machine import cpu
from markers import write_section

ROOT = Path(__file__).resolve().parent.parent
RULES = {"mean": "", "trimmed mean": 'reduce = { name = "trimmed-mean" }\n'}


class Bench:
    def __init__(self, at: Path, store: Folder | SeaweedFs, args: argparse.Namespace) -> None:
        self.at, self.store, self.args = at, store, args
        self.environment = os.environ | store.environment
        self.ca = dict(zip(store.flags[::2], store.flags[1::2])).get("--ca", "")
        self.run(args.edgectl, "keys", "new", "--out", "center.key")
        for nodes in args.nodes:
            self.run(args.thousand, "roster", f"{nodes}.toml", nodes)

    def url(self, name: str) -> str:
        return f"{self.store.url}/{name}"

    def run(self, *command: object) -> str:
        done = subprocess.run([str(word) for word in command], cwd=self.at, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
        return done.stdout

    def start(self, *command: object) -> subprocess.Popen:
        log = (self.at / "log").open("ab")
        return subprocess.Popen([str(word) for word in command], cwd=self.at, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True)

    def job(self, rule: str) -> Path:
        """The job of data/watch with a narrower model, merged by another rule."""
        text = (ROOT / "examples/watch.toml").read_text().replace("d_ff = 128", "d_ff = 64")
        head, _, _ = text.partition("[federation]")
        path = self.at / "job.toml"
        path.write_text(f"{head}[federation]\n{RULES[rule]}server = {{ name = \"replace\" }}\n")
        return path

    def center(self, name: str, rule: str, nodes: int, rounds: int) -> subprocess.Popen:
        if isinstance(self.store, Folder):
            Path(self.url(name)).mkdir(exist_ok=True)
        return self.start(self.args.edgectl, "center", "--store", self.url(name), *self.store.flags, "--config", self.job(rule), "--data", self.args.data,
                          "--key", "center.key", "--roster", f"{nodes}.toml", "--rounds", rounds, "--json", "--quiet")

    def rounds(self, name: str, rule: str, nodes: int, killed: bool) -> dict:
        """Some rounds, or one whose center is killed when it has asked and started again when all have sent."""
        rounds = 1 if killed else self.args.rounds
        center = self.center(name, rule, nodes, rounds)
        keep = []
        if killed:
            (self.at / name / "kept").mkdir(parents=True)
            keep = [self.at / name / "kept"]
        sender = self.start(self.args.thousand, "send", self.url(name), "center.pub", nodes, self.args.writers, self.ca, *keep)
        told: list[dict] = []
        try:
            for line in sender.stdout:
                told.append(json.loads(line))
                if killed and "seen" in told[-1]:
                    center.kill()
                    center.wait()
                if killed and "sent" in told[-1]:
                    began = time.monotonic()
                    center = self.center(name, rule, nodes, rounds)
                    report = json.loads(center.communicate(timeout=300)[0])
                    restarted = time.monotonic() - began
            if sender.wait():
                raise RuntimeError((self.at / "log").read_text()[-2000:])
            if not killed:
                report, restarted = json.loads(center.communicate(timeout=60)[0]), None
        finally:
            center.kill()
            sender.kill()
        pick = lambda key: [line[key] for line in told if key in line]
        if pick("merged") != [nodes] * rounds:
            raise RuntimeError(f"merged {pick('merged')}")
        return {
            "bytes": pick("bytes")[0], "rate": median(pick("a_second")), "after": pick("after_last_s"), "restarted": restarted,
            "peak": report["peak_rss_bytes"] / 2**20,
        }

    def aggregate(self, name: str, rule: str) -> float:
        """Peak memory of a merge of the same files, MiB."""
        kept = self.at / name / "kept"
        base = kept / "base.safetensors"
        updates = sorted(path for path in kept.glob("node-*"))
        report = self.run(self.args.edgectl, "aggregate", *updates, "--base", base, "--strategy", "job", "--out", self.at / name / "merged", "--json", "--quiet")
        return json.loads(report)["peak_rss_bytes"] / 2**20

    def many_rounds(self, rounds: int) -> list[str]:
        """After so many rounds: milliseconds of a poll of center and node, and of `status`."""
        name = f"rounds-{rounds}"
        if isinstance(self.store, Folder):
            Path(self.url(name)).mkdir()
        told = json.loads(self.run(self.args.thousand, "rounds", self.url(name), "center.key", rounds, 10, self.args.writers, *([self.ca] if self.ca else [])))
        status = []
        for _ in range(9):
            began = time.monotonic()
            self.run(self.args.edgectl, "status", "--store", self.url(name), *self.store.flags, "--center", "center.pub", "--last", 10, "--json")
            status.append(time.monotonic() - began)
        return [f"{1000 * seconds:.2f}" for seconds in (told["center_poll_s"], told["node_poll_s"])] + [f"{1000 * median(status):.0f}"]


def measure(kind: str, args: argparse.Namespace) -> tuple[list[list[str]], list[list[str]]]:
    at = Path(tempfile.mkdtemp(prefix="edgectl-thousand-", dir=args.folder))
    store = Folder(at) if kind == "folder" else SeaweedFs(at, args.weed)
    merges, polls = [], []
    try:
        bench = Bench(at, store, args)
        for nodes, rule in itertools.product(args.nodes, RULES):
            name = f"{rule.replace(' ', '-')}-{nodes}"
            whole = bench.rounds(name, rule, nodes, killed=False)
            late = bench.rounds(f"{name}-killed", rule, nodes, killed=True)
            after = f"{median(whole['after']):.2f} ({min(whole['after']):.2f}–{max(whole['after']):.2f})"
            alone = bench.aggregate(f"{name}-killed", rule)
            merges.append([kind, f"{nodes:,}", rule, f"{whole['bytes'] / 1000:.0f}", f"{late['rate']:.0f}", f"{whole['rate']:.0f}", after, f"{late['restarted']:.2f}",
                           f"{whole['peak']:.0f}", f"{late['peak']:.0f}", f"{alone:.0f}"])
            print(merges[-1], file=sys.stderr, flush=True)
        for rounds in args.many:
            polls.append([kind, f"{rounds:,}", *bench.many_rounds(rounds)])
            print(polls[-1], file=sys.stderr, flush=True)
    finally:
        store.stop()
        if not args.keep:
            shutil.rmtree(at, ignore_errors=True)
    return merges, polls


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("thousand", type=Path, help="the example")
    parser.add_argument("--store", choices=["folder", "seaweed", "both"], default="folder")
    parser.add_argument("--weed", default=shutil.which("weed") or "weed", help="SeaweedFS's program")
    parser.add_argument("--folder", type=Path, help="where stores are made; a folder on a disk")
    parser.add_argument("--data", type=Path, default=ROOT / "data/watch")
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, nargs="*", default=[10, 10_000], help="how many closed rounds to try `status` on")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    args = parser.parse_args()
    args.edgectl, args.thousand, args.data = (path.resolve() for path in (args.edgectl, args.thousand, args.data))
    merges, polls, load = [], [], os.getloadavg()[0]
    for kind in ["folder", "seaweed"] if args.store == "both" else [args.store]:
        try:
            found = measure(kind, args)
        except CannotTry as error:
            print(f"cannot be tried: {error}", file=sys.stderr)
            sys.exit(3)
        merges += found[0]
        polls += found[1]
    merged = table(["store", "nodes", "rule", "kB each", "updates a second", "beside a center", "from last commit to result, s", "after a restart, s",
                    "center MiB", "after a restart", "`aggregate` MiB"], merges)
    polled = table(["store", "rounds over", "poll of a center, ms", "poll of a node, ms", "`status`, ms"], polls)
    text = (
        "## A center with 1,000 nodes\n\nMade by `bench/thousand.py EDGECTL THOUSAND --store both --write BENCHMARKS.md`.\n\n"
        f"Signed updates of every node in a round by {args.writers} writers, alone or beside a running center on the same {os.cpu_count()} cores, in a folder "
        "with a sync of every object and in a bucket of SeaweedFS 4.48 with TLS. Updates are noise, which zstd makes hardly smaller. From the last commit to "
        f"the result: {args.rounds} rounds, the median, the least and the most. After a restart: a center that finds all updates there, from the start of its "
        "process to its end. Memory is the peak of the process, beside that of `edgectl aggregate` on the same files: a center takes "
        "more by what it fetches at a time, and no more for each node. Wanted: 1,000 updates a second into a folder and 200 into SeaweedFS, 5 s. "
        f"{cpu()[0]}, load {load:.1f} at the start.\n\n{merged}\n\n"
        f"What is over costs a poll nothing, and `status` a few questions more, as it finds the last closed round by doubling steps: jobs of ten nodes with so "
        f"many closed rounds; a poll is how a process looks whether something came, `status --last 10` the whole process.\n\n{polled}"
    )
    print(text)
    if args.write:
        write_section(args.write, "thousand", text)


if __name__ == "__main__":
    main()
