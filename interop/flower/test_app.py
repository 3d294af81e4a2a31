"""Tests of the app without Flower's engines; EDGECTL names the binary. check.sh runs them."""

import json
import os
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from edgectl_flower import client_app, records
from edgectl_flower.command import EdgectlError, edgectl, files
from edgectl_flower.strategy import Edgectl

ROOT = Path(__file__).resolve().parents[2]


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A file with tensors given by dtype, shape and bytes."""
    header, body = {"__metadata__": {"job": "ünï"}}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode() + b"   "
    return len(text).to_bytes(8, "little") + text + body


class Folder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))


class Records(Folder):
    FILE = safetensors({
        "z": ("F32", [2, 3], np.arange(6, dtype="<f4").tobytes()),
        "nan": ("F32", [1], b"\x01\x00\xc0\x7f"),
        "half": ("BF16", [2], b"\x80\x3f\x00\x40"),
        "steps": ("I64", [], (7).to_bytes(8, "little")),
        "none": ("F64", [0, 4], b""),
    })

    def records(self) -> RecordDict:
        (self.folder / "a").write_bytes(self.FILE)
        return RecordDict(records.read(self.folder / "a"))

    def test_a_file_comes_back_to_the_byte(self) -> None:
        content = self.records()
        np.testing.assert_array_equal(content["arrays"]["z"].numpy(), [[0, 1, 2], [3, 4, 5]])
        records.write(content, self.folder / "b")
        self.assertEqual((self.folder / "b").read_bytes(), self.FILE)

    def test_what_does_not_fit_together_is_refused(self) -> None:
        z = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
        arrays = ArrayRecord({"z": Array(np.zeros((2, 3), "<f4"))})
        record = lambda header: ConfigRecord({"header": header})
        headers = [
            b"", b"[]", b"{", b"[" * 100_000, b'{"z": 1}', b'{"z": {}}',
            json.dumps({"z": z, "y": z}).encode(),
            json.dumps({"z": {**z, "dtype": "F64"}}).encode(),
            json.dumps({"z": {**z, "shape": [3, 2]}}).encode(),
            json.dumps({"z": {**z, "data_offsets": [8, 32]}}).encode(),
            json.dumps({"z": {**z, "data_offsets": [0, 10**30]}}).encode(),
            json.dumps({"z": {**z, "data_offsets": [0, 1e999]}}).encode(),
        ]
        contents = [RecordDict({"arrays": arrays, "safetensors": record(header)}) for header in headers]
        contents += [RecordDict({"arrays": arrays}), RecordDict({"safetensors": record(b"{}")})]
        for content in contents:
            with self.subTest(content=content), self.assertRaises(ValueError):
                records.write(content, self.folder / "bad")
            self.assertFalse((self.folder / "bad").exists())
        good = RecordDict({"arrays": arrays, "safetensors": record(json.dumps({"z": z}).encode())})
        records.write(good, self.folder / "good")


class Command(Folder):
    def test_failures_are_one_message(self) -> None:
        with self.assertRaisesRegex(EdgectlError, "edgectl inspect ended with 1: error: .*nothing"):
            edgectl("inspect", str(self.folder / "nothing"))
        with unittest.mock.patch.dict(os.environ, {"EDGECTL": str(self.folder)}):
            with self.assertRaisesRegex(EdgectlError, "no such program; set EDGECTL"):
                edgectl("inspect")

    def test_paths_are_absolute_and_there(self) -> None:
        (self.folder / "b[1].csv").touch()
        (self.folder / "a.csv").touch()
        self.assertEqual(files(f"{self.folder}/*.csv", "data"), [f"{self.folder}/{n}" for n in ("a.csv", "b[1].csv")])
        self.assertEqual(files(f"{self.folder}/b[1].csv", "data"), [f"{self.folder}/b[1].csv"])
        for bad in ("a.csv", f"{self.folder}/c*", ""):
            with self.assertRaises(EdgectlError):
                files(bad, "data")


class Round(Folder):
    """Nodes' replies to a message, and what the strategy makes of them."""

    def setUp(self) -> None:
        super().setUp()
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self.model = self.folder / "model-00.safetensors"
        data = f"{ROOT}/data/watch/subject_01.csv"
        self.job = self.folder / "job.toml"
        self.job.write_text((ROOT / "examples/watch.toml").read_text().replace("epochs = 10", "epochs = 1"))
        edgectl("init", "--config", str(self.job), "--data", data, "--out", str(self.model))

    def node(self, number: int, data: str | None = None) -> Context:
        config = {"data": data or f"{ROOT}/data/watch/subject_0{number}.csv", "threads": 1}
        return Context(run_id=1, node_id=number, node_config=config, state=RecordDict(), run_config={})

    def message(self, number: int) -> Message:
        content = RecordDict({**records.read(self.model), "config": ConfigRecord({"time-budget-s": 0})})
        return Message(content, dst_node_id=number, message_type="train")

    def test_bad_updates_do_not_end_a_round(self) -> None:
        replies = [client_app.train(self.message(n), self.node(n)) for n in range(1, 6)]
        arrays = replies[2].content["arrays"]
        name = next(iter(arrays))
        arrays[name] = Array(np.full_like(arrays[name].numpy(), np.nan))
        replies[3].content["safetensors"]["header"] = b"{}"
        replies[4].content["metrics"] = MetricRecord({"train-loss": float("nan")})
        strategy = Edgectl(self.model, keep_updates=True)
        arrays, metrics = strategy.aggregate_train(1, replies)
        self.assertEqual((metrics["updates"], metrics["refused"]), (3, 1))
        self.assertNotIn("train-loss", metrics)
        self.assertEqual(strategy.model, self.folder / "model-01.safetensors")
        self.assertEqual(arrays, records.read(strategy.model)["arrays"])

        self.assertEqual(strategy.aggregate_train(2, replies[2:4]), (None, None))
        self.assertEqual(strategy.model, self.folder / "model-01.safetensors")

    def test_a_failing_node_says_no_word_of_its_data(self) -> None:
        secret = self.folder / "secret.csv"
        secret.write_text("t,label,ax\n0,Smith,Smith\n")
        with self.assertLogs("flwr", "ERROR") as logged:
            reply = client_app.train(self.message(1), self.node(1, str(secret)))
        self.assertIn("secret.csv", logged.output[0])
        self.assertEqual(reply.error.reason, "edgectl failed to train; the node's log says why")

    def test_a_node_remembers_within_a_run(self) -> None:
        job = self.job.read_text().split("server =")[0] + 'correction = "scaffold"\npopulation = 1\n'
        adamw = '{ name = "adamw", weight_decay = 0.05 }'
        self.assertIn(adamw, job)
        self.job.write_text(job.replace(adamw, '{ name = "sgd" }'))
        self.model.unlink()
        edgectl("init", "--config", str(self.job), "--data", f"{ROOT}/data/watch/subject_01.csv", "--out", str(self.model))
        context = self.node(1)
        first = client_app.train(self.message(1), context)
        self.assertIn("update.safetensors.variate", context.state["edgectl"])
        records.write(first.content, self.folder / "u")
        edgectl("aggregate", str(self.folder / "u"), "--base", str(self.model), "--strategy", "job",
                "--out", str(self.folder / "next"))
        self.model = self.folder / "next"
        second = client_app.train(self.message(1), context)
        other = self.node(1)
        other.state["edgectl"] = ConfigRecord({**context.state["edgectl"], "run": 2})
        forgot = client_app.train(self.message(1), other)
        self.assertEqual(forgot.content["arrays"], client_app.train(self.message(1), self.node(1)).content["arrays"])
        self.assertNotEqual(second.content["arrays"], forgot.content["arrays"])


if __name__ == "__main__":
    unittest.main()
