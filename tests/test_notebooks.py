"Every notebook runs top to bottom in a fresh kernel and an empty folder, as on a fresh Colab machine."
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent/"nbs").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_alone(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PORTRAIT_GAN_PRESET", "smoke")
    nb = nbformat.read(path, 4)
    start = time.perf_counter()
    NotebookClient(nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert time.perf_counter() - start < 60, "a page takes less than a minute in smoke mode"
