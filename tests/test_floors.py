"The lowest versions that settings.ini allows are enough: in an environment of them, the tests of what depends on them pass."
import os
import re
import subprocess
import sys

import pytest
from environment import environment

TESTED = ["test_photo.py", "test_awkward.py", "test_colorize.py", "test_data.py", "test_training.py", "test_project.py",
          "test_app.py"]
LEFT_OUT = "killed or real_portraits or clean or ruff or wheel or index or sdist"  # processes and files, which versions do not change


@pytest.fixture(scope="module")
def lowest(tmp_path_factory, root):
    "Python in that environment; 3 GB are downloaded once."
    if sys.version_info >= (3, 13): pytest.skip("the lowest versions have no wheels for this Python; 3.10 to 3.12 have")
    folder = tmp_path_factory.mktemp("floors")
    settings = (root/"settings.ini").read_text(encoding="utf-8")
    lowest = re.findall(r"^(?!onnx)\w*requirements = (.+)$", settings, re.M)  # exporting asks for a newer torch than the rest
    (folder/"floors.txt").write_text("\n".join(" ".join(lowest).split()))
    with environment(folder, sys.executable, "--resolution", "lowest-direct", "-r", "floors.txt") as python: yield python


@pytest.mark.slow
def test_the_lowest_versions_suffice(lowest, root, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | dict(PYTHONPATH=str(root))
    tests = [root/"tests"/name for name in TESTED]
    words = [lowest, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", tmp_path, *tests, "-k", f"not ({LEFT_OUT})"]
    done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and int(re.search(r"(\d+) passed", done.stdout)[1]) > 300, done.stdout[-5000:]


@pytest.mark.slow
def test_the_lowest_gradio_has_the_slider(lowest):
    subprocess.run([lowest, "-c", "from gradio import ImageSlider"], check=True, capture_output=True)
