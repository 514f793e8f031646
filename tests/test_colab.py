"On a machine with Colab's versions: pip replaces none of them, and every course page runs there alone, in an empty folder, from the wheel."
import subprocess
from pathlib import Path

import nbformat
import pytest
from environment import environment, outside
from install_cell import needs
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
COURSE = sorted(p for p in (ROOT/"nbs").glob("[0-9]*.ipynb") if p.stem <= "14")
PYTHON = "3.13"


def versions(python):
    "What pip lists, name -> version."
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True, env=outside())
    return dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)


@pytest.fixture(scope="module")
def colab(archives, tmp_path_factory):
    "Python of such a machine, on which page 00's cell has installed the wheel; what was there before; 5 GB, deleted at the end."
    folder = tmp_path_factory.mktemp("colab")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{PYTHON}.*/bin/python"))
    with environment(folder, pyenv[-1] if pyenv else PYTHON, "-r", ROOT/"tests"/"colab-constraints.txt") as python:
        before = versions(python)
        asked = needs(nbformat.read(COURSE[0], 4)) | dict(portrait_gan=str(archives[0]))
        subprocess.run([python, "-m", "pip", "install", "-q", *asked.values()], check=True, cwd=folder, env=outside())
        kernel = [python, "-m", "ipykernel", "install", "--prefix", folder, "--name", "colab"]
        subprocess.run(kernel, check=True, capture_output=True, env=outside())
        yield python, before, folder


def replaced(python, before):
    after = versions(python)
    return {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}


@pytest.mark.slow
def test_nothing_is_replaced(colab):
    python, before, _ = colab
    assert len(before) > 60 and before["numpy"] == "2.1.3" and before["ipywidgets"] == "7.7.1"
    assert "portrait-gan" not in {name.replace("_", "-") for name in before} and "portrait-gan" in {n.replace("_", "-") for n in versions(python)}
    assert replaced(python, before) == {}
    subprocess.run([python, "-m", "pip", "check"], check=True, env=outside())


@pytest.mark.slow
@pytest.mark.parametrize("path", COURSE, ids=lambda p: p.stem)
def test_course_page_runs(colab, path, tmp_path, monkeypatch):
    "With its install cell, which brings the extras it names, and with the wheel, not this checkout."
    python, before, folder = colab
    for name in ("PYTHONPATH", "VIRTUAL_ENV"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_PATH", str(folder/"share/jupyter"))
    monkeypatch.setenv("PORTRAIT_GAN_PRESET", "smoke")
    nb = nbformat.read(path, 4)
    nb.cells.append(nbformat.v4.new_code_cell("import portrait_gan, sys; print(portrait_gan.__file__, sys.version_info[:2])"))
    NotebookClient(nb, timeout=900, kernel_name="colab", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert str(folder/"env") in (said := nb.cells[-1].outputs[0].text) and str(tuple(map(int, PYTHON.split(".")))) in said
    assert replaced(python, before) == {}
