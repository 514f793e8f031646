"Every notebook runs top to bottom in a fresh kernel and an empty folder, with no extra but those its install cell names; then its exercises."
import re
from pathlib import Path

import nbformat
import pytest
from install_cell import EXTRAS, needs
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent/"nbs").glob("[0-9]*.ipynb"))


def exercises(nb):
    "For each solution code that tries it: its check takes it, and does not take a function that answers nothing."
    for cell in nb.cells:
        if "-sol" not in cell.id: continue
        code, = re.findall(r"<details>.*?```python\n(.*?)```.*?</details>", cell.source, re.S)
        name = re.findall(r"^(?:def|class) (\w+)", code, re.M)[-1]
        yield f"""{code}
check_{name}({name})
try: check_{name}(lambda *args, **kwargs: None)
except Exception: pass
else: raise AssertionError("check_{name} takes anything")"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_alone(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PORTRAIT_GAN_PRESET", "smoke")
    nb = nbformat.read(path, 4)
    absent = [module for module in EXTRAS if module not in needs(nb)]
    hide = f"import sys; sys.modules.update(dict.fromkeys({absent}))"  # None there: as if it were not installed
    nb.cells.insert(0, nbformat.v4.new_code_cell(hide))
    nb.cells += [nbformat.v4.new_code_cell(code) for code in exercises(nb)]
    NotebookClient(nb, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
