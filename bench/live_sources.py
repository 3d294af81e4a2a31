#!/usr/bin/env python3
"""Whether a run goes on when its sources do not: a broker and an ffmpeg that are killed, a camera that is too fast.

    python3 bench/live_sources.py target/release/edgectl                      # needs mosquitto, mosquitto_pub and ffmpeg
    python3 bench/live_sources.py target/release/edgectl --seconds 60 --write BENCHMARKS.md
    python3 bench/live_sources.py target/debug/edgectl --seconds 6            # the short form

broker: mosquitto is killed (SIGKILL) for a sixth of `--seconds` and started again. Of two sensors one loses its rows meanwhile
and is back at once; the other keeps them, and sends them 2 s after the broker is back. A message is retained. From when the
broker listens again the run must be connected within 2 s, answer new rows within 2 s, answer what was retained and every
window of what waited with `stale`, and end with 0.

camera: ffmpeg plays 30 frames a second for `--seconds`, a window is due with each, and the model takes more than five frames for an
answer. Answers cannot be younger than the model makes them, so that what counts is how old the newest frame of a window is
when the model takes it: `age_us - infer_us`, from the frame's arrival. Its 99th percentile is at most two frames (66 ms). Beside
it stands the lag of frames before their arrival, which would grow without bound where somebody queues them: how much later than
in its quickest moment a frame's answer is read, less age; its 99th percentile has the same limit. Below 30 s there are
too few answers for a 99th percentile, and the 90th counts.

ffmpeg: it is killed (SIGKILL) again and again. The series must say `no-signal` within 1 s of that, and be answered again within 2 s.

Prints one JSON object; exit code 1 where something does not hold. Needs an edgectl with the feature mqtt.
"""

import argparse
import collections
import datetime
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # nothing beside the scripts

from live import quantile
from markers import write_section

ROWS = """
data = { path = "rows.csv" }
window = { len = 20, stride = 5 }
model = { patch_len = 5, d_model = 8, n_heads = 2, n_layers = 1, d_ff = 16, dropout = 0.0 }
train = { epochs = 1, batch = 8, lr = 1e-2 }
"""
FRAMES = """
data = { path = "frames", labels = { path = "labels.csv" }, frames = { size = [8, 6] } }
window = { len = 10, stride = 1 }
model = { d_model = 32, n_heads = 2, n_layers = 2, dropout = 0.0 }
train = { epochs = 1 }
preprocess = [{ step = "z-score" }]
"""
STEP_S = 0.02
STALE_S = 1.0
FPS = 30
CAMERA = f"lavfi:testsrc=size=64x48:rate={FPS}"


class Run:
    """`edgectl run`, with everything it says and when."""

    def __init__(self, edgectl, at, *more):
        words = [edgectl, "run", "--json", "--model", *more]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, cwd=at, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        self.answers, self.events = [], []
        pairs = [(self.process.stdout, self.answers), (self.process.stderr, self.events)]
        self.readers = [threading.Thread(target=self.read, args=pair) for pair in pairs]
        for reader in self.readers:
            reader.start()

    def read(self, lines, kept):
        for line in lines:
            kept.append((time.time(), json.loads(line)))

    def until(self, kept, is_it, since=0.0):
        """When something first came that is so; a run that ends, or a minute without it, is an error."""
        end = time.time() + 60
        while time.time() < end:
            found = next((when for when, what in list(kept) if when >= since and is_it(what)), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended: {self.events}")
            time.sleep(0.005)
        raise RuntimeError(f"it never came: {self.events}")

    def connected(self, since=0.0):
        return self.until(self.events, lambda event: event.get("result") == "connected", since)

    def end(self):
        """Ends it; gives the summary, whether there is one answer for each window, and the exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=30)
        for reader in self.readers:
            reader.join()
        summary = self.events[-1][1]
        ids = [answer["id"] for _, answer in self.answers]
        return summary, ids == list(range(summary.get("due", -1))), code


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_broker(at, port):
    """A broker that keeps retained messages on disk, once it listens."""
    (at / "broker.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {at}/\n"
        "autosave_interval 1\nautosave_on_changes true\n")
    process = subprocess.Popen(["mosquitto", "-c", "broker.conf"], cwd=at, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.time() + 20
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("the broker does not begin")


class Sensor:
    """Rows at their times to a topic; while the broker is away it keeps them, or does not."""

    def __init__(self, port, topic, keeps):
        self.topic, self.keeps = topic, keeps
        self.words = ["mosquitto_pub", "-p", str(port), "-q", "1"]
        self.kept, self.process, self.lock, self.is_over = [], None, threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.sense)

    def row(self, number, ago_s=0.0):
        return json.dumps({"t": time.time() - ago_s, "x": round(math.sin(0.3 * number), 3)}) + "\n"

    def send_retained(self):
        rows = "".join(self.row(number, (20 - number) * STEP_S) for number in range(20))
        subprocess.run([*self.words, "-r", "-t", self.topic, "-s"], input=rows, text=True, check=True)

    def connect(self):
        with self.lock:
            self.process = subprocess.Popen([*self.words, "-t", self.topic, "-l"], stdin=subprocess.PIPE, text=True)

    def lose(self):
        with self.lock:
            self.process.kill()
            self.process.wait()
            self.process = None

    def sense(self):
        began, number = time.time(), 0
        while not self.is_over.is_set():
            self.kept.append(self.row(number))
            with self.lock:
                if self.process:
                    self.process.stdin.write("".join(self.kept))
                    self.process.stdin.flush()
                if self.process or not self.keeps:
                    self.kept.clear()
            number += 1
            time.sleep(max(0.0, began + number * STEP_S - time.time()))

    def end(self):
        self.is_over.set()
        self.thread.join()
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=30)


def train(edgectl, at, job, out):
    (at / "job.toml").write_text(job)
    words = [edgectl, "train", "--config", "job.toml", "--out", out, "--node", "n", "--quiet", "--threads", "1"]
    subprocess.run(words, cwd=at, check=True, stdout=subprocess.DEVNULL)


def broker(edgectl, at, away_s):
    lines = [f"{t},{math.sin(t * (0.9 if t // 60 % 2 else 0.2)):.3f},{'fast' if t // 60 % 2 else 'slow'}" for t in range(480)]
    (at / "rows.csv").write_text("\n".join(["t,x,label", *lines]) + "\n")
    train(edgectl, at, ROWS, "rows.safetensors")
    port = free_port()
    process = start_broker(at, port)
    run = Run(edgectl, at, "rows.safetensors", "--mqtt", f"mqtt://127.0.0.1:{port}/ward/+", "--stale", f"{STALE_S:.0f}s")
    forgets, keeps = sensors = [Sensor(port, "ward/s1", False), Sensor(port, "ward/s2", True)]
    is_of = lambda series, status: lambda answer: answer["series"].endswith(series) and answer["status"] == status  # noqa: E731
    try:
        run.connected()
        Sensor(port, "ward/kept", False).send_retained()
        for sensor in sensors:
            sensor.connect()
            sensor.thread.start()
            run.until(run.answers, is_of(sensor.topic[-2:], "ok"))
        time.sleep(2)  # the broker writes what it keeps each second
        lost = time.time()
        process.kill()
        process.wait()
        for sensor in sensors:
            sensor.lose()
        time.sleep(away_s)
        process = start_broker(at, port)
        back = time.time()
        forgets.connect()
        connected = run.connected(back) - back
        fresh = lambda answer: is_of("s1", "ok")(answer) and answer["t"] >= back  # noqa: E731
        answered = run.until(run.answers, fresh, back) - back
        kept = run.until(run.answers, is_of("kept", "stale"), back) - back
        time.sleep(max(0.0, back + 2 - time.time()))
        keeps.connect()
        run.until(run.answers, is_of("s2", "ok"), back)
    finally:
        for sensor in sensors:
            sensor.end()
        summary, accounted, code = run.end()
        process.kill()
        process.wait()
    # Windows that end while the broker was away, but for the first, which begin before it was.
    waited = [answer["status"] for _, answer in run.answers
              if answer["series"].endswith("s2") and answer["status"] != "no-signal" and lost + 1 < answer["t"] < back]
    wanted = (away_s - 1) / (5 * STEP_S)
    return {
        "away_s": away_s, "connected_s": round(connected, 3), "answered_s": round(answered, 3), "kept_s": round(kept, 3),
        "waited": dict(collections.Counter(waited)), "statuses": summary["answers"], "accounted": accounted, "exit_code": code,
        "holds": connected <= 2 and answered <= 2 and set(waited) == {"stale"} and len(waited) >= 0.9 * wanted and accounted and code == 0,
    }


def frames(edgectl, at):
    """A model of small pictures."""
    (at / "frames").mkdir()
    for number in range(2):
        graph = f"testsrc=size=64x48:rate={FPS}:duration=3,hue=h={180 * number}"
        words = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", graph, "-c:v", "ffv1", str(at / f"frames/{number}.mkv")]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    (at / "labels.csv").write_text("file,label\n0.mkv,a\n1.mkv,b\n")
    train(edgectl, at, FRAMES, "frames.safetensors")


def is_ok(answer):
    return answer["status"] == "ok"


def camera(edgectl, at, seconds):
    run = Run(edgectl, at, "frames.safetensors", "--camera", CAMERA)
    run.until(run.answers, is_ok)
    time.sleep(2)
    run.end()
    alone = quantile([answer["infer_us"] for _, answer in run.answers if answer["infer_us"]], 0.5)
    # Somewhat more than five frames: how long it takes alone depends on what else runs.
    slow = max(1.0, 6.5e6 / FPS / alone)
    run = Run(edgectl, at, "frames.safetensors", "--camera", CAMERA, "--deadline", "10s", "--slow", f"{slow:.3f}")
    began = run.until(run.answers, is_ok)
    time.sleep(seconds)
    # The last window waits in vain for a newer one once no more frames come.
    ended = time.time()
    summary, accounted, code = run.end()
    answers = [(when, answer) for when, answer in run.answers if is_ok(answer) and began <= when < ended]
    ages = [answer["age_us"] - answer["infer_us"] for _, answer in answers]
    came = [1e6 * (when - answer["t"]) - answer["age_us"] for when, answer in answers]
    lags = [when - min(came) for when in came]
    limit = 2e6 / FPS
    takes = quantile([answer["infer_us"] for _, answer in answers], 0.5) * FPS / 1e6
    age, lag = (quantile(of, 0.99 if seconds >= 30 else 0.9) for of in (ages, lags))
    due = summary["due"]
    return {
        "seconds": seconds, "windows": due, "frames_an_answer_takes": round(takes, 2), "statuses": summary["answers"],
        "age_ms": {"p50": round(quantile(ages, 0.5) / 1e3, 1), "p99": round(quantile(ages, 0.99) / 1e3, 1), "max": round(max(ages) / 1e3, 1)},
        "lag_ms": {"p50": round(quantile(lags, 0.5) / 1e3, 1), "p99": round(quantile(lags, 0.99) / 1e3, 1), "max": round(max(lags) / 1e3, 1)},
        "accounted": accounted, "exit_code": code,
        "holds": age <= limit and lag <= limit and takes >= 5 and due >= 0.9 * FPS * seconds and accounted and code == 0,
    }


def ffmpeg_of(process):
    """The child that plays the camera."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and b"testsrc" in (path / "cmdline").read_bytes():
                return int(path.name)
        except (OSError, IndexError):
            pass  # it has ended meanwhile
    raise RuntimeError("there is no ffmpeg")


def killed(edgectl, at, times):
    run = Run(edgectl, at, "frames.safetensors", "--camera", CAMERA)
    silent, back = [], []
    run.until(run.answers, is_ok)
    for _ in range(times):
        time.sleep(1)
        child, when = ffmpeg_of(run.process), time.time()
        os.kill(child, signal.SIGKILL)
        told = run.until(run.answers, lambda answer: answer["status"] == "no-signal", when)
        silent.append(told - when)
        # What was due before still has its answers before that.
        back.append(run.until(run.answers, is_ok, told) - when)
    summary, accounted, code = run.end()
    return {
        "kills": times, "no_signal_s": round(max(silent), 3), "back_s": round(max(back), 3), "statuses": summary["answers"],
        "accounted": accounted, "exit_code": code,
        "holds": max(silent) <= 1 and max(back) <= 2 and summary["answers"].get("no-signal") == times and accounted and code == 0,
    }


def written(found, machine):
    b, c, f = found["broker"], found["camera"], found["ffmpeg"]
    rows = [
        ("run connected to a broker that was killed, from when it listens again", f"{b['away_s']:.0f} s away", f"{b['connected_s']} s", "2 s"),
        ("first answer to new rows", "", f"{b['answered_s']} s", "2 s"),
        ("windows of rows that waited, and how many were `stale`", "", f"{sum(b['waited'].values())}, {b['waited'].get('stale', 0)}", "all"),
        (f"newest frame when the model, which takes {c['frames_an_answer_takes']} frames for an answer, takes it, p99", f"{c['seconds']:.0f} s of 30 frames", f"{c['age_ms']['p99']} ms", "66 ms"),
        ("frames before their arrival, p99", "", f"{c['lag_ms']['p99']} ms", "66 ms"),
        ("`no-signal` after ffmpeg was killed, the longest", f"{f['kills']} kills", f"{f['no_signal_s']} s", "1 s"),
        ("answers again, the longest", "", f"{f['back_s']} s", "2 s"),
    ]
    head = ["## Sources that fail", "", "Made by `bench/live_sources.py EDGECTL --write BENCHMARKS.md`, which says what is measured how.", "", machine, ""]
    table = ["| what | of | measured | wanted |", "| --- | --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*head, *table])


def machine():
    with open("/proc/cpuinfo") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return f"{name}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start, {datetime.date.today()}."


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("edgectl")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--write", type=pathlib.Path)
    args = parser.parse_args()
    missing = [name for name in ("mosquitto", "mosquitto_pub", "ffmpeg") if not shutil.which(name)]
    if missing:
        print(f"skipped: no {' and no '.join(missing)} here (Debian: mosquitto mosquitto-clients ffmpeg)", file=sys.stderr)
        return
    edgectl, where = str(pathlib.Path(args.edgectl).resolve()), machine()
    with tempfile.TemporaryDirectory(prefix="edgectl-sources-") as folder:
        at = pathlib.Path(folder)
        found = {"broker": broker(edgectl, at, max(3.0, args.seconds / 6))}
        frames(edgectl, at)
        found["camera"] = camera(edgectl, at, args.seconds)
        found["ffmpeg"] = killed(edgectl, at, max(2, int(args.seconds / 6)))
    found["holds"] = all(part["holds"] for part in found.values())
    print(json.dumps(found))
    if args.write:
        write_section(args.write, "live-sources", written(found, where))
    sys.exit(0 if found["holds"] else 1)


if __name__ == "__main__":
    main()
