"Every notebook runs top to bottom in a fresh kernel and an empty folder, with no extra but those its install cell names."
from pathlib import Path

import nbformat
import pytest
from install_cell import EXTRAS, needs
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent/"nbs").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_alone(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PORTRAIT_GAN_PRESET", "smoke")
    nb = nbformat.read(path, 4)
    absent = [module for module in EXTRAS if module not in needs(nb)]
    hide = f"import sys; sys.modules.update(dict.fromkeys({absent}))"  # None there: as if it were not installed
    nb.cells.insert(0, nbformat.v4.new_code_cell(hide))
    NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
