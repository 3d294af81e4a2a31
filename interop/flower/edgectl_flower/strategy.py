"""A Flower strategy whose rounds `edgectl aggregate` merges, by every rule of the job.

Who trains and for how long Flower says (FedAvg's sampling); what counts, how much, and how the model
moves edgectl says. An update that cannot be read is left out, and a round that cannot be merged leaves
the model as it was.
"""

import math
import shutil
from collections.abc import Iterable
from logging import ERROR, WARNING
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from . import records
from .command import EdgectlError, edgectl


class Edgectl(FedAvg):
    """Rounds from `model`, whose results are `model-NN.safetensors` beside it."""

    def __init__(self, model: Path, keep_updates: bool, **fedavg: float) -> None:
        super().__init__(**fedavg)
        self.model = model
        self.keep_updates = keep_updates
        self.merged = 0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of FedAvg, with the header of the model's file."""
        return self._with_header(super().configure_train(server_round, arrays, config, grid))

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of FedAvg, with the header of the model's file."""
        return self._with_header(super().configure_evaluate(server_round, arrays, config, grid))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merges the updates; without a result the model of the last round stays."""
        folder = self.model.parent / f"round-{server_round:02}"
        folder.mkdir()
        losses = self._save(replies, folder)
        out = self.model.parent / f"model-{server_round:02}.safetensors"
        try:
            if not losses:
                raise EdgectlError("no node sent an update")
            report = edgectl(
                "aggregate", *losses, "--base", str(self.model), "--strategy", "job", "--out", str(out)
            )
        except EdgectlError as error:
            log(ERROR, "round %s is not merged, and the model stays: %s", server_round, error)
            return None, None
        finally:
            if not self.keep_updates:
                shutil.rmtree(folder)
        self.model, self.merged = out, self.merged + 1
        for refused in report["rejected"]:
            log(WARNING, "refused: %s: %s", Path(refused["path"]).stem, refused["reason"])
        merged = [update for update in report["updates"] if update["verdict"] == "merged"]
        metrics = {"updates": len(merged), "refused": len(losses) - len(merged)}
        known = [(update["share"], losses[update["path"]]) for update in merged]
        if all(loss is not None for _, loss in known):
            metrics["train-loss"] = sum(share * loss for share, loss in known)
        return records.read(out)[records.ARRAYS], MetricRecord(metrics)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The mean of the nodes' accuracy and loss, of those that sent numbers."""
        sound = [reply for reply in replies if reply.has_error() or _is_sound(reply)]
        return super().aggregate_evaluate(server_round, sound)

    def _with_header(self, messages: Iterable[Message]) -> list[Message]:
        messages = list(messages)
        header = records.read(self.model)[records.FILE]
        for message in messages:
            message.content[records.FILE] = header
        return messages

    def _save(self, replies: Iterable[Message], folder: Path) -> dict[str, float | None]:
        """Files of the updates, with the loss that each node states, if it is a number."""
        valid, _ = self._check_and_log_replies(replies, is_train=True, validate=False)
        losses = {}
        for reply in valid:
            node = reply.metadata.src_node_id
            path = folder / f"node-{node}.safetensors"
            try:
                records.write(reply.content, path)
                loss = reply.content.metric_records["metrics"].get("train-loss")
            except Exception as error:  # whatever a node sends must not end the run of the others
                log(WARNING, "the update of node %s is left out: %s", node, error)
                path.unlink(missing_ok=True)
                continue
            losses[str(path)] = loss if isinstance(loss, float) and math.isfinite(loss) else None
        return losses


def _is_sound(reply: Message) -> bool:
    found = list(reply.content.metric_records.values())
    if len(found) != 1 or set(found[0]) != {"num-examples", "accuracy", "loss"}:
        return False
    values = list(found[0].values())
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values) and found[0]["num-examples"] > 0
