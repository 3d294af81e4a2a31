"""Whether a killed run always begins again: kills `edgectl run --state` at random moments, some while it promotes.

At each moment a run is started on the same folder of state and fed; another model is put in the place of `--model`, and
the process is killed (SIGKILL): for every fifth moment once the file of the new model has appeared among those of the
folder, which is inside its promotion, else after a random time. Then `deploy.json` must be whole, the model that it
calls live must be the one before or the new one, and the next run must begin with it. Prints how many of each, and how
long it took from the start of the process to the first answer.

    python3 bench/live_kill.py --model global.safetensors --data data/watch/subject_01.csv --moments 100
"""

import argparse
import collections
import json
import os
import pathlib
import random
import tempfile
import threading
import time

from live_common import add_arguments, begin, lines_of, with_round


def models_in(state):
    return {path.name for path in state.glob("*.safetensors")} - {"current.safetensors"}


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", required=True)
    parser.add_argument("--stride", type=int, default=50, help="rows from one window to the next")
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    rows = lines_of(args.data, 40, args.stride)
    found, first_ms = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        live, state = folder / "live.safetensors", folder / "state"
        with_round(args.model, live, 1)
        command = [args.binary, "run", "--json", "--model", str(live), "--state", str(state), "--queue", "all",
                   "--watch", "1ms", "--shadow", "0"]
        expected = None
        for moment in range(args.moments):
            began = time.perf_counter()
            run = begin(command)
            run.stdin.write("".join(rows[:3 * args.stride]).encode())
            run.stdin.flush()
            answer = json.loads(run.stdout.readline())
            first_ms.append(1e3 * (time.perf_counter() - began))
            assert answer["status"] == "ok", answer
            assert expected in (None, answer["model"]), (moment, expected, answer)
            deployed = json.loads((state / "deploy.json").read_text())["live"]
            before, first = deployed["hash"], deployed["round"]

            def feed_all(stdin=run.stdin):
                try:
                    for line in rows[3 * args.stride:]:
                        stdin.write(line.encode())
                        stdin.flush()
                        time.sleep(1e-4)
                except (BrokenPipeError, ValueError):
                    pass

            feeder = threading.Thread(target=feed_all, daemon=True)
            feeder.start()
            known = models_in(state)
            with_round(args.model, live, 2 + moment)
            inside = moment % 5 == 0
            if inside:
                until = time.perf_counter() + 5
                while not models_in(state) - known and time.perf_counter() < until:
                    pass
                time.sleep(rng.choice([0, 0, 1e-4, 5e-4, 2e-3]))
            else:
                time.sleep(rng.uniform(0, 0.15))
            run.kill()
            run.wait()
            feeder.join()
            deployment = json.loads((state / "deploy.json").read_text())
            expected = deployment["live"]["hash"]
            assert (state / f"{expected}.safetensors").exists(), expected
            is_new = deployment["live"]["round"] == 2 + moment
            # One that a kill before kept from becoming live may have done so since.
            is_between = first < deployment["live"]["round"] <= 2 + moment
            assert is_between or expected == before, (moment, deployment)
            found["inside a promotion" if inside else "anywhere", "new" if is_new else "before"] += 1
            assert len(models_in(state)) <= 4, os.listdir(state)
        first_ms.sort()
        print(json.dumps({
            "moments": args.moments,
            "live_after": {f"{where}: {which}": n for (where, which), n in sorted(found.items())},
            "first_answer_ms": {"p50": round(first_ms[len(first_ms) // 2], 1), "max": round(first_ms[-1], 1)},
        }))


if __name__ == "__main__":
    main()
