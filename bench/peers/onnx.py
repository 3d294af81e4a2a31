"""ONNX Runtime, on the file that PyTorch exported."""

import os

import onnxruntime

import cases
from cases import Model


def prepare(case: dict):
    """A forward pass of the file at `case["path"]`; the check is the logits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(case["path"], options, providers=providers)
    feed = {"x": cases.batch(Model(*case["shape"]))[0]}

    def step():
        return session.run(None, feed)

    return step, step()[0].flatten().tolist()
