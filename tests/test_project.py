"The project is in sync with itself: notebooks, modules, metadata, style."
import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import install_cell
import pytest
from environment import tracked

TOOLS = Path(sys.executable).parent
NOTEBOOKS = sorted(p.name for p in (Path(__file__).parent.parent/"nbs").glob("[0-9]*.ipynb"))
MODULES = ["data", "lab", "pixels", "pretrained", "generator", "hints", "discriminator", "losses", "training", "metrics", "colorize",
           "evaluation", "files", "photo", "groups", "cache", "checkpoint", "config", "run", "report", "save",
           "folder", "lite", "export", "cli", "portrait", "app"]


@pytest.fixture(scope="module")
def metadata(root):
    ini = configparser.ConfigParser()
    ini.read(root/"settings.ini", encoding="utf-8")
    return ini["DEFAULT"]


def test_clean_and_export_change_nothing(root, tmp_path):
    files = [f for f in tracked(root) if f.startswith(("nbs/", "portrait_gan/")) or "/" not in f]
    for f in files:
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/f, tmp_path/f)
    for f in (tmp_path/"portrait_gan").glob("[a-z]*.py"): f.write_text("")  # export must write every line anew
    for tool in ("nbdev-clean", "nbdev-export"): subprocess.run([TOOLS/tool], cwd=tmp_path, check=True, capture_output=True)
    changed = [f for f in files if (tmp_path/f).read_bytes() != (root/f).read_bytes()]
    assert not changed
    made = {p.name for p in (tmp_path/"portrait_gan").glob("*.py")}
    assert made == {p.name for p in (root/"portrait_gan").glob("*.py")}


def test_every_module_has_its_notebook(root):
    assert re.findall(r'"#\| default_exp (\w+)', "".join((root/"nbs"/n).read_text() for n in NOTEBOOKS)) == MODULES


def test_cell_ids_are_unique(root):
    "Comments in the modules name cells by their ids."
    ids = [c["id"] for n in NOTEBOOKS for c in json.loads((root/"nbs"/n).read_text())["cells"]]
    assert len(set(ids)) == len(ids) > 500


def test_ruff(root):
    where = "nbs", "tests", "benchmarks", "docs", "space", "setup.py"
    done = subprocess.run([TOOLS/"ruff", "check", *where], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs(root, name):
    text = (root/"nbs"/name).read_text()
    limit = 1500 if re.search("training|evaluation|results", name) else 400
    assert len(text) < limit*1024
    cells = json.loads(text)["cells"]
    for o in (outputs := [o for c in cells for o in c.get("outputs", [])]):
        o["data"] = {kind: v for kind, v in o.get("data", {}).items() if not kind.startswith("image/")}  # pictures may spell anything
    said = json.dumps(outputs)
    assert '"stderr"' not in said and '"error"' not in said
    assert not re.search(r"(/tmp/|/home/|/root/|/work/|/Users/|site-packages)", said)
    code = [c for c in cells if c["cell_type"] == "code"]
    assert sum(bool(c["outputs"]) for c in code) > 3, "readers get executed notebooks"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_page_form(root, name, metadata):
    cells = json.loads((root/"nbs"/name).read_text())["cells"]
    first = "".join(cells[0]["source"])
    url = metadata["git_url"]
    assert re.match(r"# .+\n\n> .+", first)
    assert f"{url.replace('https://github.com/', 'https://colab.research.google.com/github/')}/blob/main/nbs/{name}" in first
    assert f"https://kaggle.com/kernels/welcome?src={url}/blob/main/nbs/{name}" in first
    assert "## What we have now" in "".join(cells[-1]["source"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_install_cell(root, name, metadata, monkeypatch):
    "Anywhere, not only in Colab: what cannot be imported is installed, at versions of settings.ini; a clone and a full machine stay as they are."
    nb = json.loads((root/"nbs"/name).read_text())
    needs = install_cell.needs(nb)
    assert install_cell.source(nb) == install_cell.form(needs)
    assert list(needs)[:2] == ["portrait_gan", "fastcore"] and set(needs) <= {"portrait_gan", "fastcore", *install_cell.EXTRAS}
    known = {r for key, value in metadata.items() if key.endswith("requirements") for r in value.split()}
    assert needs["portrait_gan"] == f"portrait-gan @ git+{metadata['git_url']}" and set([*needs.values()][1:]) <= known
    quoted = [f'"{requirement}"' for requirement in needs.values()]
    assert install_cell.installed(nb, set(), monkeypatch) is None
    assert install_cell.installed(nb, set(needs), monkeypatch) == " ".join(quoted)
    assert install_cell.installed(nb, {[*needs][-1]}, monkeypatch) == " ".join(quoted[1:]), "what is there may be too old: pip knows"
    assert install_cell.installed(nb, {"portrait_gan"}, monkeypatch) == " ".join(quoted)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pages_that_profit_ask_for_a_gpu(root, name):
    "In Colab a page opens on the machine that its metadata asks for, and its full mode needs an accelerator."
    metadata = json.loads((root/"nbs"/name).read_text())["metadata"]
    assert (metadata.get("accelerator"), metadata.get("colab")) == (
        ("GPU", {"gpuType": "T4"}) if re.match("05_|09_|20_|21_", name) else (None, None))


def test_import_does_no_work(tmp_path):
    "No output, no file, no random number drawn; none of the tools for authors; no drawing library, no extra; each module after those it needs."
    code = f"""import importlib, random, sys, numpy, torch
def drawn(): return torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate()
before = drawn()
for module in {MODULES}:
    importlib.import_module("portrait_gan." + module)
    assert drawn() == before, module
    forbidden = ["nbdev", "fastcore", "google.colab", "matplotlib.pyplot", "torchmetrics", "onnx", "onnxruntime", "gradio"]
    bad = [m for m in forbidden + ["IPython"]*(module != "app") if m in sys.modules]  # ipywidgets needs IPython
    assert not bad, (module, bad)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_tables_are_those_measured(root):
    "What the README and the model card say of the bundled weights is what their report says."
    from portrait_gan.report import report_markdown, scores_markdown
    report = json.loads((root/"portrait_gan/weights/report.json").read_text())
    card, readme = (root/"portrait_gan/weights/README.md").read_text(), (root/"README.md").read_text()
    rows = [line for line in report_markdown(report).splitlines() if line.startswith("|")]
    assert len(rows) > 20 and not [r for r in rows if r not in card]
    short = scores_markdown(report["scores"]["photos"], ("ab_mae_ratio", "skin_ab_mae_ratio", "kid_ratio", "colorfulness_ratio", "psnr"))
    assert not [r for r in short if r.replace("| ours |", "| **bundled weights** |") not in readme]


@pytest.mark.parametrize("name, photos, where", [
    ("quality", "photos", "benchmarks/README.md"), ("quality", "photos", "nbs"), ("foreign", "photos", "nbs"), ("ablations", "photos", "nbs"),
    ("ablations_start", "photos", "nbs"), ("ablations_start", "old prints", "nbs"),
    ("ablations_average", "photos", "nbs"), ("ablations_sizes", "photos", "nbs")])
def test_recipe_tables_are_those_measured(root, name, photos, where):
    "What the results and page 22 say of other recipes is what benchmarks/quality.py wrote."
    from portrait_gan.report import scores_markdown
    scores = json.loads((root/f"data/{name}.json").read_text())["scores"][photos]
    columns = ("ab_mae_ratio", "skin_ab_mae_ratio", "kid_ratio", "colorfulness_ratio", "delta_cf")
    if where == "nbs":
        cells = json.loads((root/"nbs/22_results.ipynb").read_text())["cells"]
        text = "\n".join("".join(c["source"]) for c in cells)
    else: text = (root/where).read_text()
    assert not [r for r in scores_markdown(scores, columns) if r not in text]


def test_the_table_against_clouds_is_that_measured(root):
    text = (root/"nbs/22_results.ipynb").read_text()
    columns = "ab_mae_ratio skin_ab_mae_ratio kid_ratio kid_lite2_ratio colorfulness_ratio flat_grad_ratio".split()
    for scores in json.loads((root/"data/ablations_clouds.json").read_text())["scores"].values():
        for name, s in scores.items():
            cells = [f"{s[c]:.3f}" if "kid" in c else f"{s[c]:.2f}" for c in columns]
            assert f"| {name} | {' | '.join(cells)} |" in text


def test_the_table_of_the_long_run_is_that_measured(root):
    text, runs = (root/"nbs/22_results.ipynb").read_text(), json.loads((root/"data/long_run.json").read_text())["runs"].values()
    for epoch in range(18, 127, 12):
        found = [run.get(str(epoch)) for run in runs]
        cells = [f"{s['loss_g_l1']:.4f} | {s['valid_mae_ratio']:.3f}" if s else "– | –" for s in found]
        assert f"| {epoch} | {96 if epoch <= 42 else 128 if epoch <= 84 else 160} | {' | '.join(cells)} |" in text


def test_wheel_carries_the_weights(root, archives):
    with zipfile.ZipFile(archives[0]) as z: names = set(z.namelist())
    bundled = ("generator.safetensors", "config.json", "metrics.jsonl", "report.json", "README.md", "LICENSE")
    assert {f"portrait_gan/weights/{f}" for f in bundled} <= names
    assert {"portrait_gan/static/app.js", "portrait_gan/static/app.css"} <= names
    assert (root/"portrait_gan/weights/generator.safetensors").stat().st_size <= 12e6


def test_wheel_says_what_settings_say(archives, metadata):
    with zipfile.ZipFile(archives[0]) as z: text = z.read(next(n for n in z.namelist() if n.endswith("METADATA"))).decode()
    said = email.message_from_string(text)
    assert (said["Name"], said["Version"], said["Summary"]) == ("portrait-gan", metadata["version"], metadata["description"])
    assert (said["Author"], said["Requires-Python"]) == (metadata["author"], f">={metadata['min_python']}")
    assert said["License-Expression"] == metadata["license"] == "Apache-2.0 AND LicenseRef-portrait-gan-weights"
    assert said["Keywords"].split(",") == metadata["keywords"].split()
    assert said.get_all("Classifier") == metadata["classifiers"].strip().splitlines()
    url = metadata["git_url"]
    assert said.get_all("Project-URL") == [f"Source, {url}", f"Issues, {url}/issues"]
    required = [r for r in said.get_all("Requires-Dist") if "extra ==" not in r]
    assert required == metadata["requirements"].split()
    assert set(said.get_all("Provides-Extra")) == {k.removesuffix("_requirements") for k in metadata if k.endswith("_requirements")}


def test_metadata_stands_once(root):
    project = (root/"pyproject.toml").read_text().split("[project]")[1].split("\n[")[0]
    assert re.findall(r"^([\w-]+) =", project, re.M) == ["name", "license-files", "dynamic"]


def test_readme_leads_somewhere_from_a_package_index(root, archives, metadata):
    "Every link of the wheel's README is an address, and those into the repository name files that are there."
    with zipfile.ZipFile(archives[0]) as z: text = z.read(next(n for n in z.namelist() if n.endswith("METADATA"))).decode()
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text)
    own = [(picture, link.removeprefix(metadata["git_url"])) for picture, link in links if link.startswith(metadata["git_url"])]
    assert all(re.match("https?://", link) for _, link in links) and len(own) == len(re.findall(r"\]\((?!https?:)", (root/"README.md").read_text()))
    for picture, link in own:
        assert link.startswith("/raw/main/" if picture else "/blob/main/") and (root/link.split("/main/")[1].partition("#")[0]).exists()


@pytest.mark.slow
def test_sdist_tests_itself(archives, tmp_path):
    "Unpacked, it holds the pages and the files that its tests read."
    with tarfile.open(archives[1]) as t: t.extractall(tmp_path)
    folder, = tmp_path.iterdir()
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", "tests/test_project.py", "tests/test_notebooks.py",
             "-k", "not clean and (page or cell or tables or runs_alone and (04_ or 25_))"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | dict(PYTHONPATH=str(folder))
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and int(re.search(r"(\d+) passed", done.stdout).group(1)) > 70, done.stdout
