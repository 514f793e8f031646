"The course is short, comes before the practice and stands without it; what each page promises a learner is there."
import ast
import importlib
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT/"nbs").glob("[0-9]*.ipynb"))
COURSE = [p for p in PAGES if p.stem <= "14"]
TEXTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "nbs/README.md", "nbs/GLOSSARY.md", "data/README.md", "docs/guide.md", "docs/try/README.md",
         "benchmarks/README.md", "benchmarks/start.md", "portrait_gan/weights/README.md"]
MODULES = sorted((ROOT/"portrait_gan").glob("[a-z]*.py"))
LATE = {("colorize", m) for m in ("checkpoint", "photo", "save", "export", "lite")} | {("hints", "files")}  # inside functions


def cells(page): return json.loads(page.read_text(encoding="utf-8"))["cells"]


def source(cell): return "".join(cell["source"])


def code(page): return [(c["id"], source(c)) for c in cells(page) if c["cell_type"] == "code" and not source(c).startswith("#| hide")]


def prose(page):
    "What everybody reads: no quiz, no solution, no formula, no code."
    text = "\n".join(source(c) for c in cells(page) if c["cell_type"] == "markdown" and not re.search("-quiz|-sol", c["id"]))
    text = re.sub(r"<details>.*?</details>|\$\$.*?\$\$|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.S)
    return re.findall(r"[A-Za-z][\w’'-]*", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_budget(page):
    course = page in COURSE
    if course: assert len(prose(page)) <= 1600
    exported = [line for _, s in code(page) if s.startswith("#| export") for line in s.splitlines() if line.strip() and not line.startswith("#|")]
    assert len(exported) <= (220 if course else 400)
    assert [(i, len(s.splitlines())) for i, s in code(page) if len(s.splitlines()) > (30 if course else 45)] == []
    assert [(i, len(line)) for i, s in code(page) for line in s.splitlines() if len(line) > 120] == []


FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # for Colab; for JupyterLab and the site


def test_what_is_folded():
    "Only in the course, never an exercise; on page 00 nothing but drawings and checks."
    for page in PAGES:
        marked = {c["id"]: c["metadata"] for c in cells(page) if c["metadata"]}
        assert all(m == FOLDED for m in marked.values()) and not (marked and page not in COURSE), page.name
        assert not [i for i in marked if "-try" in i], page.name
        if page != PAGES[0]: continue
        assert not [i for i, s in code(page) if i in marked and "-check" not in i and re.search(r"\bnn\.|backward|loss_|ab_scale", s)]


def test_course_takes_five_hours():
    """At a learner's rates: 175 words and 10 lines of code in sight a minute, half a minute a picture; exercises come on top.
    A quarter of an hour is left for what runs in the small form."""
    minutes = 0
    for page in COURSE:
        for c in cells(page):
            if source(c).startswith("## Try it yourself"): break
            if c["cell_type"] == "markdown": minutes += len(re.sub("<details>.*?</details>", "", source(c), flags=re.S).split())/175
            elif not c["metadata"] and not re.match(r"#\| (hide|default_exp)", source(c)):
                minutes += len([line for line in source(c).splitlines() if line.strip()])/10
            minutes += sum("image/jpeg" in o.get("data", {}) for o in c.get("outputs", []))/2
    assert 200 < minutes <= 285


def test_pages_have_plain_numbers():
    assert [p.stem[:3] for p in PAGES] == [f"{i:02}_" for i in range(len(PAGES))]


@pytest.mark.parametrize("module", MODULES, ids=lambda p: p.stem)
def test_modules_are_short(module):
    "Lines that somebody wrote: not those that export puts between cells, nor its list of names."
    text = re.sub(r"^__all__ = \[.*?\]\n|^# (%%|AUTO)[^\n]*", "", module.read_text(), flags=re.M | re.S)
    assert len([line for line in text.splitlines()[1:] if line.strip()]) <= 400


def imports(module):
    "Modules of ours that it imports: when it is imported; and late, inside functions."
    tree = ast.parse(module.read_text())
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    found = {True: set(), False: set()}
    for n in ast.walk(tree):
        if isinstance(n, ast.ImportFrom) and (n.level or (n.module or "").startswith("portrait_gan.")):
            found[id(n) in late].add((n.module or "").removeprefix("portrait_gan."))
    return found[False] - {""}, found[True] - {""}


def test_imports_go_down():
    "A page needs only pages before it, and the course no practice, but for what is fetched late and named here."
    order = {}
    for page in PAGES:
        exported = re.search(r"#\| default_exp (\w+)", page.read_text())
        if exported: order[exported[1]] = int(page.stem[:2])
    assert set(order) == {m.stem for m in MODULES if not m.stem.startswith("_")}
    used = set()
    for module in MODULES:
        if module.stem.startswith("_"): continue
        early, late = imports(module)
        assert {m for m in early if order[m] >= order[module.stem]} == set(), module.stem
        higher = {(module.stem, m) for m in late if order[m] >= order[module.stem]}
        assert higher <= LATE
        used |= higher
    assert used == LATE, "an exception that nobody needs"


@pytest.mark.parametrize("page", COURSE, ids=lambda p: p.stem)
def test_a_page_teaches(page):
    "Three exercises with minutes, a place to try, a check and a folded solution; a quiz with folded answers; something to predict; the next page."
    by_id = {c["id"]: source(c) for c in cells(page)}
    number = page.stem[:2]
    for n in (1, 2, 3):
        task, attempt, check, solution = (by_id[f"{number}-{part}{n}"] for part in ("ex", "try", "check", "sol"))
        assert re.search(r"\b\d+ (to \d+ )?minutes?\b", task) and "<details>" in solution
        name = re.findall(r"^(?:def|class) (\w+)", re.search(r"```python\n(.*?)```", solution, re.S)[1], re.M)[-1]
        assert f"def check_{name}(" in check and re.search(rf"\b{name}\b", attempt)
    assert by_id[f"{number}-quiz"].count("<details>") >= 3
    text = "\n".join(by_id.values())
    assert re.search(r"[Pp]redict|[Gg]uess", text) and "urther reading" in text
    last, following = list(by_id.values())[-1], PAGES[PAGES.index(page) + 1]
    assert "## What we have now" in last and f"({following.name})" in last


def anchors(path):
    "Headings as links name them, in Jupyter and on GitHub."
    lines = "\n".join(source(c) for c in cells(path) if c["cell_type"] == "markdown") if path.suffix == ".ipynb" else path.read_text()
    heads = [re.sub(r"[*`\\]", "", h.strip()) for h in re.findall(r"^#+ (.+)$", lines, re.M)]
    return {h.replace(" ", "-") for h in heads} | {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in heads}


@pytest.mark.parametrize("path", [*PAGES, *(ROOT/t for t in TEXTS)], ids=lambda p: p.parent.name + "-" + p.name)
def test_links_lead_somewhere(path):
    text = "\n".join(source(c) for c in cells(path) if c["cell_type"] == "markdown") if path.suffix == ".ipynb" else path.read_text()
    for target in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)):
        file, _, heading = target.partition("#")
        found = path if not file else path.parent/file
        assert found.exists(), target
        if heading and found.suffix in (".ipynb", ".md"): assert unquote(heading) in anchors(found), target


def test_readme_is_short():
    assert len((ROOT/"README.md").read_text().split()) <= 900


def test_glossary_both_ways():
    "Each term leads to the page that first uses it; course pages lead to the glossary."
    text = (ROOT/"nbs"/"GLOSSARY.md").read_text()
    entries = re.findall(r"^\*\*(.+?)\*\*", text, re.M)
    assert len(entries) > 50 and entries == sorted(entries, key=lambda e: re.sub(r"[*\\]", "", e).lower())
    pages = set(re.findall(r"\((\d\d_\w+\.ipynb)", text))
    assert len(pages) >= 8
    for page in COURSE: assert "GLOSSARY.md" in page.read_text(), page.name
    needed = "GAN adversarial conditional generator discriminator U-Net skip patch PatchGAN receptive logit L1 detach EMA sRGB D65 ICC KID"
    for term in needed.split():
        assert any(e.lower().startswith(term.lower()) for e in entries), term


OLD = json.loads((ROOT/"tests"/"names_0_1.json").read_text())  # what README and pages of version 0.1 import


@pytest.mark.parametrize("module", OLD)
def test_old_names_work(module):
    found = importlib.import_module(f"portrait_gan.{module}")
    for name in OLD[module]: assert getattr(found, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"): found.nonsense  # noqa: B018


def test_front_door():
    import portrait_gan
    for name in portrait_gan.__all__: assert callable(getattr(portrait_gan, name)) or name == "RECIPES"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"): portrait_gan.nonsense  # noqa: B018
