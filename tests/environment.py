"Environments of other versions, made by uv and deleted after use; the files that git tracks."
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

UV = Path(sys.executable).with_name("uv")


def tracked(root):
    return subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


@contextmanager
def environment(folder, python, *words):
    "Python of a new environment with what `uv pip install WORDS` brings; without such a Python the test skips."
    made = subprocess.run([UV, "venv", "-q", "-p", python, "env"], cwd=folder, capture_output=True, text=True)
    if made.returncode: pytest.skip(f"no Python {python} here, and none to be had: {made.stderr.strip()[-200:]}")
    try:
        subprocess.run([UV, "pip", "install", "-q", "-p", "env", *words], cwd=folder, check=True)
        yield folder/"env/bin/python"
    finally: shutil.rmtree(folder/"env", ignore_errors=True)


def outside(**more):
    "The environment variables of somebody who has no clone: nothing of this checkout, of pytest or of its caller's Python."
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV"))} | more
