"""Seconds that each page takes, run alone in a fresh kernel and an empty folder; the small version unless --preset full.

    python benchmarks/pages.py
    python benchmarks/pages.py 02_generator 04_training"""
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

import nbformat
import tyro
from common import table
from nbclient import NotebookClient

NOTEBOOKS = {p.stem: p for p in sorted((Path(__file__).parent.parent/"nbs").glob("[0-9]*.ipynb"))}


def seconds(path: Path) -> float:
    "Run it top to bottom."
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(nbformat.read(path, 4), timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}})
        begun = time.perf_counter()
        client.execute()
        return time.perf_counter() - begun


def main(
    pages: Annotated[tuple[str, ...], tyro.conf.Positional] = (),  # names without suffix; none: all
    preset: Literal["smoke", "full"] = "smoke",  # how much a page runs
):
    "Print a table of seconds."
    os.environ["PORTRAIT_GAN_PRESET"] = preset
    found = {name: seconds(NOTEBOOKS[name]) for name in pages or NOTEBOOKS}
    table("cpu", [f"page, {preset}", "seconds"], [[name, f"{s:.1f}"] for name, s in found.items()] + [["all", f"{sum(found.values()):.1f}"]])


if __name__ == "__main__": tyro.cli(main)
