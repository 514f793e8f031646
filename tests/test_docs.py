"The site: built from a copy of the repository by the README's command, without a warning; then every page of it is read."
import base64
import functools
import hashlib
import html
import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from environment import tracked
from PIL import Image
from test_browser import ARGS, CHROMIUM
from test_project import MODULES, NOTEBOOKS

pytestmark = pytest.mark.skipif(not all(map(importlib.util.find_spec, ("sphinx", "myst_nb", "furo", "sphinx_copybutton"))),
                                reason="the extra `docs` is not installed")


MADE_OF = "docs", "nbs", "data", "benchmarks", "portrait_gan", "README.md", "settings.ini"


def build(repository, out):
    "What README says, with another folder to write to."
    command = re.search(r"sphinx-build (-W \S+ [\w/]+)", (repository/"README.md").read_text(encoding="utf-8"))[1]
    assert command == "-W docs docs/_build/html"
    words = [sys.executable, "-m", "sphinx", *command.split()[:-1], "--keep-going", "-q", out]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, env=os.environ | dict(NO_COLOR="1"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def digests(folder): return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def repository(root, tmp_path_factory):
    "What the site is made of; the package in it cannot be imported, only read."
    copy = tmp_path_factory.mktemp("site")/"repository"
    made = shutil.ignore_patterns("_build", "api", "pages", "work", ".*", "__pycache__", "*.safetensors")
    for name in MADE_OF:
        if (root/name).is_dir(): shutil.copytree(root/name, copy/name, ignore=made)
        else: shutil.copy(root/name, copy/name)
    with (copy/"portrait_gan/__init__.py").open("a") as init: init.write("\nraise ImportError('it was imported')\n")
    return copy


@pytest.fixture(scope="module")
def site(repository):
    "The folder of the built site; building it changed nothing but what git ignores."
    before = digests(repository)
    build(repository, repository.parent/"html")
    after = digests(repository)
    assert {p.parts[:2] for p in after.keys() - before.keys()} <= {("docs", "__pycache__"), ("docs", "api"), ("docs", "pages")}
    assert {p: d for p, d in after.items() if p in before} == before
    return repository.parent/"html"


class Reader(HTMLParser):
    "Of one page: its anchors, where it leads, the pictures and files it loads, and the words outside code."
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.files, self.words, self.inside = set(), [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs: self.ids.add(attrs["id"])
        if tag == "a" and "href" in attrs: self.links.append(attrs["href"])
        if tag in ("img", "script") and "src" in attrs: self.files.append(attrs["src"])
        if tag == "link" and attrs.get("rel") == "stylesheet": self.files.append(attrs["href"])
        if tag in ("pre", "code", "script", "style", "math"): self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag: self.inside.pop()

    def handle_data(self, data):
        if not self.inside: self.words.append(data)


@functools.cache
def read(path): return Reader(path.read_text(encoding="utf-8"))


def pages(site): return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts and "try" not in p.parts)


def broken_links(site):
    "Links and files that are not there, anchors that no page has."
    for page in pages(site):
        for target in read(page).links + read(page).files:
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:", path): continue
            found = (page.parent/unquote(path.partition("?")[0])).resolve() if path else page
            if not found.is_file() or site not in found.parents: yield page.name, target
            elif anchor and found.suffix == ".html" and unquote(anchor) not in read(found).ids: yield page.name, target


def cells(root, name): return json.loads((root/"nbs"/name).read_text(encoding="utf-8"))["cells"]


def source(cell): return "".join(cell["source"])


def test_the_sdist_has_all_that_the_site_is_made_of(root, archives):
    with tarfile.open(archives[1]) as t: names = {n.partition("/")[2] for n in t.getnames()}
    made_of = {f for f in tracked(root) if f.startswith(MADE_OF)}
    assert len(made_of) > 80 and made_of <= names, made_of - names


def test_every_link_leads_somewhere(site, root, repository):
    assert len(pages(site)) > 60 and sum(len(read(p).links) for p in pages(site)) > 5000
    assert list(broken_links(site)) == []
    url = re.search(r"^git_url = (\S+)", (root/"settings.ini").read_text(encoding="utf-8"), re.M)[1]
    own = {link.split("#")[0] for p in pages(site) for link in read(p).links if link.startswith(f"{url}/blob/main/")}
    assert len(own) > 50 and [link for link in own if not (root/link.removeprefix(f"{url}/blob/main/")).exists()] == []
    assert not [(p.name, link) for p in pages(site) for link in read(p).links if re.search(r"\.(ipynb|md)(#|$)", link) and "://" not in link]


def test_links_lead_to_the_page_that_needs_no_python_only_where_it_is(repository, site, tmp_path):
    "docs/try/build.py writes it into the site's folder before Sphinx runs."
    assert not [link for p in pages(site) for link in read(p).links if re.match(r"(\.\./)?try/", link)]
    out = shutil.copytree(site, tmp_path/"html")
    (out/"try").mkdir()
    (out/"try"/"index.html").write_text("it")
    build(repository, out)
    assert (out/"try"/"index.html").read_text() == "it"
    for page in ("index.html", "pages/00_start.html", "api/lab.html"):
        assert len([link for link in read(out/page).links if "try/index.html" in link]) == (2 if page == "index.html" else 1), page
    assert "until then" in " ".join(read(site/"index.html").words) and "until then" not in " ".join(read(out/"index.html").words)
    assert list(broken_links(out)) == []


def test_front_page(site, root):
    "The README, whole, with what it links, and light to load."
    page, text = read(site/"index.html"), " ".join(" ".join(read(site/"index.html").words).split())
    readme = (root/"README.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", readme, flags=re.S), re.M): assert heading in text
    assert len(re.findall("<table", (site/"index.html").read_text())) == len(re.findall(r"^\|[-:| ]+\|$", readme, re.M))
    others = {f"pages/{name}.html" for name in ("guide", "contents", "results", "model_card", "glossary")} | {"api/index.html", "gallery.html"}
    assert {f"pages/{n[:-6]}.html" for n in NOTEBOOKS} | others <= set(page.links)
    loaded = {site/"index.html"} | {site/f.partition("?")[0] for f in page.files}
    assert sum(f.stat().st_size for f in loaded) < 1.5e6


def test_pictures_are_ours_and_whole(site, root):
    "Every picture stands in data/ or in the stored output of a page, and can be decoded; badges are the only ones from elsewhere."
    ours = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (root/"data").iterdir() if p.is_file()}
    stored = [o["data"]["image/jpeg"] for n in NOTEBOOKS for c in cells(root, n) for o in c.get("outputs", []) if "image/jpeg" in o.get("data", {})]
    ours |= {hashlib.sha256(base64.b64decode("".join(s))).hexdigest() for s in stored}
    found = [p for p in site.rglob("*") if p.suffix in (".jpg", ".jpeg", ".png", ".gif", ".webp") and "_static" not in p.parts]
    assert len(found) >= len(set(stored)) > 70
    for p in found:
        assert hashlib.sha256(p.read_bytes()).hexdigest() in ours, p
        with Image.open(p) as picture: picture.load()
    assert {f for p in pages(site) for f in read(p).files if re.match(r"\w+:", f)} == {
        "https://colab.research.google.com/assets/colab-badge.svg", "https://kaggle.com/static/images/open-in-kaggle.svg"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_is_whole(site, root, name):
    "Executed as stored: pictures, printed lines, folded solutions, formulas, tables, badges; neither directives nor the install cell."
    text, page = (site/"pages"/name).with_suffix(".html").read_text(encoding="utf-8"), read((site/"pages"/name).with_suffix(".html"))
    own = cells(root, name)
    prose = "\n".join(source(c) for c in own if c["cell_type"] == "markdown")
    outputs = [o for c in own for o in c.get("outputs", [])]
    assert re.search('<meta name="description" content="[^"]{30,}"', text)
    code = "\n".join(html.unescape(re.sub("<[^>]+>", "", block)) for block in re.findall(r"<pre>(.*?)</pre>", text, re.S))
    assert not re.search(r"^#\|", code, re.M) and "find_spec(module)" not in code
    for c in own:
        lines = [line for line in source(c).splitlines() if c["cell_type"] == "code" and not line.startswith("#|")]
        assert source(c).startswith("#| hide") or "\n".join(lines).strip() in code, c["id"]
    for o in outputs:
        if o["output_type"] == "stream": assert "".join(o["text"]).strip() in code
    pictures = [f for f in page.files if "/_images/" in f and re.search("[0-9a-f]{40}", f)]
    assert len(pictures) == sum("image/jpeg" in o.get("data", {}) for o in outputs)
    assert text.count("<details><summary>") == prose.count("<details>") == text.count("</details>") - text.count('<details class="admonition hide')
    bare = re.sub(r"```.*?```|`[^`\n]*`", "", prose, flags=re.S)
    assert text.count("<math") == len(re.findall(r"\$\$.+?\$\$", bare, re.S)) + len(re.findall(r"(?<!\$)\$[^$\n]+\$(?!\$)", bare))
    printed = "\n".join("".join(o["data"]["text/markdown"]) for o in outputs if "text/markdown" in o.get("data", {}))
    assert text.count("<table") == len(re.findall(r"^\|[-:| ]+\|$", f"{prose}\n{printed}", re.M))
    assert [link for link in page.links if "colab.research.google.com" in link] and [link for link in page.links if "kaggle.com" in link]
    assert not re.search(r"\*\*|\]\(|\$\$|\|--|\{py:|`|\\", " ".join(page.words))


def test_glossary_both_ways(site, root):
    "Each term has an anchor, and a link to a heading; the course leads back."
    page = read(site/"pages/glossary.html")
    terms = re.findall(r"^\*\*", (root/"nbs"/"GLOSSARY.md").read_text(encoding="utf-8"), re.M)
    assert len([i for i in page.ids if i.startswith("term-")]) == len(terms) > 50
    assert len([link for link in page.links if re.match(r"\d\d_\w+\.html#", link)]) >= len(terms)
    for name in NOTEBOOKS:
        if name < "14": assert [link for link in read((site/"pages"/name).with_suffix(".html")).links if link.startswith("glossary.html")], name


@pytest.mark.parametrize("module", MODULES)
def test_reference_has_every_comment(site, root, module):
    "Read by fastcore from the imported package: each exported name with its docstring and the comment behind each parameter; the page leads to it."
    from fastcore.docments import docments
    path = site/f"api/{module}.html"
    text, page = path.read_text(encoding="utf-8"), read(path)
    plain = lambda t: re.sub(r"[\s`]+", "", html.unescape(re.sub("<[^>]+>", "", t)))
    said = plain(text)
    found, comments = importlib.import_module(f"portrait_gan.{module}"), 0
    assert plain(found.__doc__) in said
    notebook = next(n for n in NOTEBOOKS if re.search(rf"default_exp {module}\b", (root/"nbs"/n).read_text()))
    defined = set(read((site/"pages"/notebook).with_suffix(".html")).links)
    for name in found.__all__:
        full, thing = f"portrait_gan.{module}.{name}", getattr(found, name)
        assert full in page.ids and f"../api/{module}.html#{full}" in defined, full
        if not callable(thing) or getattr(thing, "__module__", "") != f"portrait_gan.{module}": continue
        methods = [m for n, m in vars(thing).items() if n[0] != "_" or n in ("__init__", "__call__")] if isinstance(thing, type) else [thing]
        methods = [m for m in methods if inspect.isfunction(m) and inspect.getsourcefile(m) == found.__file__]
        for part in [thing, *methods]:
            generated = (part.__doc__ or "").startswith(f"{name}(")  # a dataclass without a docstring
            if part.__doc__ and not generated: assert plain(inspect.cleandoc(part.__doc__)) in said, part
        for part in methods:
            for parameter, told in docments(part, full=True).items():
                if told.get("docment"): assert plain(told["docment"]) in said, (full, parameter)
                comments += bool(told.get("docment"))
    assert comments > 0


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM: pytest.skip("no Chromium here")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_in_a_browser(site, browser, width, scheme):
    "Nothing is wider than the window, every picture is drawn, nothing fails; a solution opens, formulas have a size."
    page = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
    problems = []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.route("https://**", lambda route: route.fulfill(content_type="image/svg+xml", body='<svg xmlns="http://www.w3.org/2000/svg"/>'))
    for name in ("index", "pages/00_start", "pages/06_hints", "pages/09_training", "pages/22_results", "pages/glossary", "api/config", "gallery"):
        page.goto((site/f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("[...document.images].filter(i => i.src.startsWith('file') && !i.naturalWidth).map(i => i.src)") == [], name
        assert page.evaluate("[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().height > 5)"), name
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", shade)[:3])) < 60) == (scheme == "dark"), shade
    page.goto((site/"pages/09_training.html").as_uri())
    solution = page.locator("details", has=page.get_by_text("Solution", exact=True)).first
    assert not solution.locator("pre").is_visible()
    solution.locator("summary").click()
    assert solution.locator("pre").is_visible() and "def ema_update" in solution.inner_text()
    assert problems == []
    page.close()


def test_search(site, browser):
    "A word of the course, a term and a function are found, without a server."
    page = browser.new_page()
    for word, hit in (("whisper", "07_discriminator.html"), ("BatchNorm", "#term-BatchNorm"), ("rgb_to_lab", "#portrait_gan.lab.rgb_to_lab")):
        page.goto(f"{(site/'search.html').as_uri()}?q={word}")
        page.locator(f"ul.search a[href*='{hit}']").first.wait_for(timeout=20_000)
    page.close()
