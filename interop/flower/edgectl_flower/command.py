"""Calls `edgectl`. Which program that is, this machine says, never the other side of a run."""

import glob
import json
import os
import shutil
import subprocess


class EdgectlError(RuntimeError):
    """edgectl is not there, or has ended with an error."""


def edgectl(command: str, *args: str) -> dict:
    """Runs `edgectl COMMAND ARGS… --json`, and returns its report."""
    wanted = os.environ.get("EDGECTL") or "edgectl"
    program = shutil.which(wanted)
    if program is None:
        raise EdgectlError(f"{wanted}: no such program; set EDGECTL to edgectl's path on this machine")
    done = subprocess.run(
        [program, command, *args, "--json", "--quiet"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        told = done.stderr.strip() or "it said nothing"
        raise EdgectlError(f"edgectl {command} ended with {done.returncode}: {told}")
    return json.loads(done.stdout)


def files(pattern: str, what: str) -> list[str]:
    """The files or folders that a path or a pattern stands for, in the order of their names."""
    if not os.path.isabs(pattern):
        # Flower starts apps in folders of its own.
        raise EdgectlError(f"{what} is {pattern!r}; it has to be an absolute path")
    found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
    if not found:
        raise EdgectlError(f"{what} is {pattern!r}, where nothing is")
    return found


def file(path: str, what: str) -> str:
    """The one file or folder that a path or a pattern stands for."""
    found = files(path, what)
    if len(found) > 1:
        raise EdgectlError(f"{what} is {path!r}, which stands for {len(found)} files")
    return found[0]
