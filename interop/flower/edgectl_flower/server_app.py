"""The center's side: a model by `edgectl init`, and rounds that `edgectl aggregate` merges."""

import shutil
from pathlib import Path

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from . import records
from .command import EdgectlError, edgectl, file, files
from .strategy import Edgectl

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the rounds, and leaves every model and `global.safetensors` in the folder `out`."""
    config = context.run_config
    folder = _new_folder(str(config["out"]))
    first = folder / "model-00.safetensors"
    if config["model"]:
        _copy(Path(file(str(config["model"]), "model")), first)
    else:
        job = file(str(config["job"]), "job")
        data = files(str(config["data"]), "data")
        edgectl("init", "--config", job, "--data", *data, "--out", str(first))
    strategy = Edgectl(
        first,
        bool(config["keep-updates"]),
        fraction_train=float(config["fraction-train"]),
        fraction_evaluate=float(config["fraction-evaluate"]),
        min_train_nodes=int(config["min-nodes"]),
        min_evaluate_nodes=int(config["min-nodes"]),
        min_available_nodes=int(config["min-nodes"]),
    )
    strategy.start(
        grid,
        records.read(first)[records.ARRAYS],
        num_rounds=int(config["rounds"]),
        timeout=float(config["timeout-s"]),
        train_config=ConfigRecord({"time-budget-s": int(config["time-budget-s"])}),
    )
    if not strategy.merged:
        raise EdgectlError("no round could be merged; the log says why")
    _copy(strategy.model, folder / "global.safetensors")


def _new_folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_absolute():
        raise EdgectlError(f"out is {name!r}; it has to be an absolute path")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise EdgectlError(f"{folder} is not empty; give another folder as out, nothing is replaced")
    return folder


def _copy(model: Path, to: Path) -> None:
    """Copies a model with the center's memory (momentum) beside it, so that a run can go on from it."""
    for ending in ("", ".server"):
        if Path(f"{model}{ending}").exists():
            shutil.copyfile(f"{model}{ending}", f"{to}{ending}")
