"""The node's side: `edgectl train` and `edgectl eval` on the node's own data.

The node says where that is, by `data` in its node configuration or by EDGECTL_DATA: a file, a folder or
a pattern. Of a simulation's nodes each takes one of the files, by its number.
"""

import os
import tempfile
from collections.abc import Callable
from logging import ERROR
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.logger import log

from . import records
from .command import EdgectlError, edgectl, files

app = ClientApp()

METRICS = "metrics"
# What `edgectl train` reads of the round before: parameters that stay on the node, and what corrects
# its drift (SCAFFOLD, FedDyn).
UPDATE, MEMORY = "update.safetensors", ("update.safetensors", "update.safetensors.variate")


@app.train()
def train(message: Message, context: Context) -> Message:
    """Trains the model of the message, and replies with the update."""

    def work(folder: Path, model: str) -> RecordDict:
        update = folder / UPDATE
        _remember(context, folder)
        report = edgectl(
            "train", "--init", model, "--out", str(update), *_own(context), *_limits(message)
        )
        _keep(context, folder)
        metrics = {"num-examples": report["examples"], "steps": report["steps"], "wall-s": report["wall_s"]}
        if report["loss"] is not None:
            metrics["train-loss"] = report["loss"]
        return RecordDict({**records.read(update), METRICS: MetricRecord(metrics)})

    return _reply(message, work)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measures the model of the message on the node's test rows."""

    def work(_: Path, model: str) -> RecordDict:
        report = edgectl("eval", "--model", model, *_own(context))
        metrics = {"num-examples": report["n"], "accuracy": report["accuracy"], "loss": report["loss"]}
        return RecordDict({METRICS: MetricRecord(metrics)})

    return _reply(message, work)


def _reply(message: Message, work: Callable[[Path, str], RecordDict]) -> Message:
    """What `work` makes of the message's model, in a folder that is gone afterwards.

    What edgectl says of a mistake in the data may quote it: it stays in the node's log.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edgectl-") as name:
            model = Path(name) / "global.safetensors"
            records.write(message.content, model)
            return Message(content=work(Path(name), str(model)), reply_to=message)
    except (EdgectlError, ValueError) as error:
        log(ERROR, "%s", error)
        reason = f"edgectl failed to {message.metadata.message_type}; the node's log says why"
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def _data(context: Context) -> list[str]:
    own = context.node_config
    pattern = own.get("data") or os.environ.get("EDGECTL_DATA")
    if not pattern:
        raise EdgectlError("no data: set EDGECTL_DATA on the node, or data in its --node-config")
    found = files(str(pattern), "the node's data")
    number = own.get("partition-id")
    if number is None:
        return found
    if not 0 <= int(number) < len(found):
        raise EdgectlError(f"node {number} (from 0) has no data: {pattern!r} is {len(found)} files")
    return [found[int(number)]]


def _own(context: Context) -> list[str]:
    """What the node says: its data, and how many threads."""
    threads = context.node_config.get("threads") or os.environ.get("EDGECTL_THREADS")
    return ["--data", *_data(context), *(["--threads", str(int(threads))] if threads else [])]


def _limits(message: Message) -> list[str]:
    budget = int(message.content["config"].get("time-budget-s", 0))
    return ["--time-budget", f"{budget}s"] if budget > 0 else []


def _remember(context: Context, folder: Path) -> None:
    kept = context.state.config_records.get("edgectl", {})
    # Flower may hand on what a node kept in an earlier run, of another model.
    if kept.get("run") == context.run_id:
        for name in MEMORY:
            if name in kept:
                (folder / name).write_bytes(kept[name])


def _keep(context: Context, folder: Path) -> None:
    there = {name: (folder / name).read_bytes() for name in MEMORY if (folder / name).exists()}
    context.state["edgectl"] = ConfigRecord({"run": context.run_id, **there})
