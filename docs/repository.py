"""What the site takes from the repository: the pages and texts, with links that lead to built pages, and the reference of the package.

All of it is written to docs/pages and docs/api (ignored by git) before Sphinx looks for its sources. The package is read, not imported:
no torch is needed to build the site."""
import ast
import base64
import io
import json
import posixpath
import re
import tokenize
from configparser import ConfigParser
from copy import copy
from html import escape
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from docutils.parsers.rst.directives.images import Figure
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
_ini = ConfigParser()
_ini.read(ROOT/"settings.ini", encoding="utf-8")
CFG = _ini["DEFAULT"]

NOTEBOOKS = sorted((ROOT/"nbs").glob("[0-9]*.ipynb"))
# file of the repository -> page of the site
PAGES = {f"nbs/{p.name}": f"pages/{p.name}" for p in NOTEBOOKS} | {
    "README.md": "index.md", "docs/guide.md": "pages/guide.md", "data/README.md": "pages/data.md",
    "nbs/README.md": "pages/contents.md", "nbs/GLOSSARY.md": "pages/glossary.md", "portrait_gan/weights/README.md": "pages/model_card.md",
    "benchmarks/README.md": "pages/results.md", "benchmarks/start.md": "pages/start_and_memory.md"}
TRY = False


# links

def rewrite(text: str, source: str, here: str) -> str:
    "Markdown of the file `source` as the page `here`: links lead to pages, else to the repository; names of the package to the reference."
    parts = re.split(r"(```.*?```|`[^`\n]+`)", text, flags=re.S)
    for i in range(0, len(parts), 2): parts[i] = re.sub(r"\]\((?!\w+:)([^)\s]+)\)", lambda m: f"]({address(m[1], source, here)})", parts[i])
    for i in range(1, len(parts), 2):
        line = "".join(parts[:i]).rpartition("\n")[2]
        if not line.startswith(("#", "<")) and not parts[i + 1].startswith("](") and not line.endswith("["): parts[i] = linked(parts[i])
    return "".join(parts)


def address(target: str, source: str, here: str) -> str:
    "Where a link of the file `source` leads on the page `here`; anchors as Jupyter or GitHub write them become MyST's."
    path, _, heading = target.partition("#")
    anchor = "#" + re.sub(r"[^\w-]", "", unquote(heading)).lower() if heading else ""
    if not path: return anchor
    found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    relative = lambda place: posixpath.relpath(place, posixpath.dirname(here) or ".")
    if found in PAGES: return relative(PAGES[found]) + anchor
    if found.endswith((".jpg", ".png", ".svg", ".webp", ".gif")): return relative(f"../{found}")
    return f"{CFG['git_url']}/blob/main/{found}{anchor}"


def tried_here(text: str) -> str:
    "README's link to the published page that needs no Python leads to the one beside it, and the advice for those who have none goes."
    return re.sub(r"\]\(https?://[^)\s]+/try/\)", "](site:try/index.html)", re.sub(r" \([^()]*\[make the page yourself\]\([^)]*\)[^)]*\)", "", text))


def linked(code: str) -> str:
    "`name` as a link to the reference, where the package has one such name and it is no common word."
    name = code.strip("`").removesuffix("()")
    home = INDEX.get(name)
    return f"{{py:obj}}`{name} <{home}>`" if home and re.search("[A-Z_]", name) else code


# pages

def notebook(path: Path) -> dict:
    "The page without its install cell and nbdev's directives, its number in the title, folded as it is; definitions lead to the reference."
    nb = json.loads(path.read_text(encoding="utf-8"))
    source, here, cells = f"nbs/{path.name}", PAGES[f"nbs/{path.name}"], []
    for cell in nb["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown": text = rewrite(text, source, here)
        elif text.startswith("#| hide"): continue
        else: text = re.sub(r"^#\|.*\n?", "", text, flags=re.M).strip("\n")
        if cell["metadata"].get("jupyter", {}).get("source_hidden"): cell["metadata"] = {"tags": ["hide-input"]}
        if text: cells.append(cell | dict(source=text))
        if defined := DEFINED.get((source, cell["id"])):
            names = " · ".join(f"{{py:obj}}`{name} <{home}>`" for name, home in defined)
            cells.append(dict(cell_type="markdown", id=f"{cell['id']}-reference", metadata={}, source=f"{{.reference}}\nReference: {names}"))
    module = next((m for m in MODULES if m.page == source), None)
    title = re.sub("^# ", f"# {path.stem[:2]} – ", cells[0]["source"])
    if module: title = re.sub(r"(?m)^(\[!\[.*)", rf"\1 [Reference of {module.name}](../api/{module.name}.md)", title, count=1)
    cells[0]["source"] = title
    return nb | dict(cells=cells)


def glossary(text: str) -> str:
    "Each term of the glossary with an anchor of its own."
    head, *entries = re.split(r"\n\n(?=\*\*)", text.strip())
    terms = [re.sub(r"\*\*(.+?)\*\*: ", r"\1\n  ", entry) for entry in entries]
    return head + "\n\n````{glossary}\n" + "\n\n".join(terms) + "\n````\n"


# reference

def comments(code: str) -> tuple[dict[int, str], dict[int, int]]:
    "Of each line its comment; and of each line with a `def` the line that ends its head."
    found, heads, head, depth = {}, {}, None, 0
    for t in tokenize.generate_tokens(io.StringIO(code).readline):
        if t.type == tokenize.COMMENT: found[t.start[0]] = t.string.removeprefix("#").strip()
        elif t.string == "def" and head is None: head = t.start[0]
        elif t.type == tokenize.OP and t.string in "([{": depth += 1
        elif t.type == tokenize.OP and t.string in ")]}": depth -= 1
        elif t.string == ":" and head is not None and not depth: heads[head], head = t.start[0], None
    return found, heads


def marked(text: str) -> str:
    "A comment or docstring as Markdown: only `code` means something in it."
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(linked(p) if i % 2 else re.sub(r"([\\*_\[\]<>|$#{}~^])", r"\\\1", p) for i, p in enumerate(parts))


class Module:
    "What one module exports, read from its source."
    def __init__(self, path: Path):
        code = path.read_text(encoding="utf-8")
        self.name, self.tree, self.lines = path.stem, ast.parse(code), code.splitlines()
        self.page = re.search(r"File to edit: \.\./(\S+?)\.$", code, re.M)[1]
        self.summary = ast.get_docstring(self.tree)
        self.comments, self.heads = comments(code)
        self.local = {s.name: s for s in self.tree.body if isinstance(s, ast.ClassDef)}
        exported = next(ast.literal_eval(s.value) for s in self.tree.body if ast.unparse(s).startswith("__all__ ="))
        self.exported = {name: s for s in self.tree.body for name in self.names(s) if name in exported}

    def names(self, s: ast.stmt) -> list[str]:
        if isinstance(s, ast.FunctionDef | ast.ClassDef): return [s.name]
        targets = s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AnnAssign) else []
        return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]

    def full(self, name: str) -> str: return f"portrait_gan.{self.name}.{name}"

    def cell(self, s: ast.stmt) -> str:
        "Id of the cell that defines it."
        return next(m[1] for line in self.lines[s.lineno - 1::-1] if (m := re.match(r"# %% \S+ #(\S+)", line)))

    def fields(self, cls: ast.ClassDef) -> list[ast.AnnAssign]:
        "Of a dataclass, those of its bases first."
        bases = [self.local[b.id] for b in cls.bases if isinstance(b, ast.Name) and b.id in self.local]
        return [f for b in bases for f in self.fields(b)] + [s for s in cls.body if isinstance(s, ast.AnnAssign)]

    def parameters(self, f: ast.FunctionDef) -> tuple[str, list[tuple[str, str]], str]:
        "Signature, documented parameters, what is returned. A comment speaks of all parameters on its line."
        a, end = copy(f.args), self.heads[f.lineno]
        if a.args and a.args[0].arg in ("self", "cls"): a.args = a.args[1:]
        plain = [*a.posonlyargs, *a.args]
        defaults = dict(zip([p.arg for p in reversed(plain)], reversed(a.defaults), strict=False))
        defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)}
        args = [*plain, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
        ends = {p.arg: (defaults.get(p.arg) or p).end_lineno for p in args}
        documented = [(name, self.comments[line]) for name, line in ends.items() if line < end and line in self.comments]
        returned = self.comments.get(end, "") if f.body[0].lineno > end else ""
        return f"({ast.unparse(a)})" + (f" -> {ast.unparse(f.returns)}" if f.returns else ""), documented, returned

    def entry(self, name: str, s: ast.stmt, fence: str = "`````") -> str:
        "One directive of Sphinx's Python domain, with what is inside a class."
        options, body, doc = [], [], ""
        if isinstance(s, ast.ClassDef):
            kind, doc = "class", ast.get_docstring(s) or ""
            bases = [marked(f"`{ast.unparse(b)}`") for b in s.bases if not ast.unparse(b).startswith("_")]
            if bases: body.append("Bases: " + ", ".join(bases))
            init = next((m for m in s.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
            if any("dataclass" in ast.unparse(d) for d in s.decorator_list):
                fields = self.fields(s)
                arguments = ", ".join(ast.unparse(f) for f in fields)
                signature, returned = f"({arguments})", ""
                documented = [(f.target.id, self.comments[f.end_lineno]) for f in fields if f.end_lineno in self.comments]
            elif init:
                signature, documented, returned = self.parameters(init)
                doc = "\n\n".join(filter(None, [doc, ast.get_docstring(init)]))
            else: signature, documented, returned = "", [], ""
        elif isinstance(s, ast.FunctionDef):
            kind, doc = ("method" if fence == "````" else "function"), ast.get_docstring(s) or ""
            if s.body[-1].end_lineno == s.lineno: doc = doc or self.comments.get(s.lineno, "")  # all on one line, its comment too
            signature, documented, returned = self.parameters(s)
            for d in map(ast.unparse, s.decorator_list):
                if d in ("classmethod", "staticmethod"): options.append(f":{d}:")
                if d == "property": kind, signature, options = "property", "", [f":type: {ast.unparse(s.returns)}"] if s.returns else []
        else:
            kind, signature, documented, returned = "data", "", [], ""
            above = self.comments.get(s.lineno - 1, "") if self.lines[s.lineno - 2].startswith("# ") else ""
            doc = "; ".join(c for c in (above, self.comments.get(s.end_lineno, "")) if c and not c.startswith("%%"))
            value, names = s.value, self.names(s)
            if len(names) > 1 and isinstance(value, ast.Tuple): value = value.elts[names.index(name)]
            if len(ast.unparse(value)) < 80: options.append(f":value: {ast.unparse(value)}")
        if doc: body.append(marked(doc))
        told = [f":param {n}: {marked(c)}" for n, c in documented] + [f":returns: {marked(returned)}"]*bool(returned)
        if told: body.append("\n".join(told))
        if isinstance(s, ast.ClassDef):
            methods = [m for m in s.body if isinstance(m, ast.FunctionDef) and (m.name == "__call__" or m.name[0] != "_")]
            body += [self.entry(m.name, m, "````") for m in methods]
        return f"{fence}{{py:{kind}}} {name}{signature}\n" + "\n".join(options) + "\n\n" + "\n\n".join(body) + f"\n{fence}"

    def text(self) -> str:
        "The module's page: first what it is, then everything it exports in the order of its page."
        number = self.page.removeprefix("nbs/")[:2]
        head = (f"# {self.name}\n\n```{{py:module}} portrait_gan.{self.name}\n```\n\n> {marked(self.summary)}\n\n"
                f"Defined, shown and checked on [page {number}](../{PAGES[self.page]}), whose headings stand here.\n")
        parts, section = [], None
        for name, s in self.exported.items():
            where = heading(self.page, self.cell(s))
            if where != section:
                link = address(f"{self.page}#{where}".rstrip("#").replace(" ", "-"), "", "api/x")
                parts.append(f"## [{marked(where or 'Beginning')}]({link})")
            section = where
            parts.append(self.entry(name, s))
        return head + "\n" + "\n\n".join(parts) + "\n"


def heading(page: str, cell: str) -> str:
    "The nearest heading above a cell, without its marks; none before the first section."
    found = ""
    for c in json.loads((ROOT/page).read_text(encoding="utf-8"))["cells"]:
        if c["cell_type"] == "markdown":
            text = re.sub(r"```.*?```", "", "".join(c["source"]), flags=re.S)
            found = (re.findall(r"^##+ (.+)$", text, re.M) or [found])[-1]
        if c["id"] == cell: return re.sub(r"[`\\]", "", found)
    raise LookupError(f"{page} has no cell {cell}: run nbdev-export")


MODULES = sorted((Module(p) for p in (ROOT/"portrait_gan").glob("[a-z]*.py")), key=lambda m: m.page)
DEFINED = {}  # (page, cell) -> the names it exports, with their full names
INDEX = {}  # name, or Class.method -> full name, where there is only one such
for _m in MODULES:
    for _name, _s in _m.exported.items():
        DEFINED.setdefault((_m.page, _m.cell(_s)), []).append((_name, _m.full(_name)))
        INDEX[_name] = "" if _name in INDEX else _m.full(_name)
        if isinstance(_s, ast.ClassDef):
            INDEX |= {f"{_name}.{f.name}": _m.full(f"{_name}.{f.name}") for f in _s.body if isinstance(f, ast.FunctionDef) and f.name[0] != "_"}


def reference() -> str:
    "The first page of the reference."
    init = ast.parse((ROOT/"portrait_gan"/"__init__.py").read_text(encoding="utf-8"))
    homes = next(s.value for s in init.body if ast.unparse(s).startswith("_HOMES ="))
    front = ", ".join(f"{{py:obj}}`{k.arg} <portrait_gan.{k.value.value}.{k.arg}>`" for k in homes.keywords)
    rows = "\n".join(f"| [{m.name}]({m.name}.md) | {marked(m.summary)} |" for m in MODULES)
    toc = "\n".join(m.name for m in MODULES)
    return (f"# Reference\n\n`from portrait_gan import …` offers {front}. Everything else is imported from its module.\n\n"
            f"| module | what it is for |\n|---|---|\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{toc}\n```\n")


# what Sphinx calls

def write(app):
    "Pages and reference, each file only where it changed; what nothing makes any more goes."
    made = {f"api/{m.name}.md": m.text() for m in MODULES} | {"api/index.md": reference()}
    for source, place in PAGES.items():
        path = ROOT/source
        if path.suffix == ".ipynb": text = json.dumps(notebook(path), ensure_ascii=False)
        else: text = rewrite(path.read_text(encoding="utf-8"), source, place)
        if TRY and place == "index.md": text = tried_here(text)
        if place == "pages/glossary.md": text = glossary(text)
        made["pages/README.md" if place == "index.md" else place] = text  # docs/index.md includes it
    for folder in ("pages", "api"):
        (DOCS/folder).mkdir(exist_ok=True)
        for old in (DOCS/folder).iterdir():
            if old.relative_to(DOCS).as_posix() not in made and old.suffix != ".jpg": old.unlink()
    for place, text in made.items():
        path = DOCS/place
        if not path.exists() or path.read_text(encoding="utf-8") != text: path.write_text(text, encoding="utf-8")


class PagePicture(SphinxDirective, Figure):
    "`{page-picture} PAGE CELL N`: the N-th picture that a cell of a page stores; a click leads to the page."
    required_arguments, optional_arguments, final_argument_whitespace = 3, 0, False

    def run(self):
        page, cell, n = self.arguments
        notebook = ROOT/"nbs"/f"{page}.ipynb"
        self.env.note_dependency(str(notebook))
        outputs = next(c["outputs"] for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["id"] == cell)
        pictures = [o["data"]["image/jpeg"] for o in outputs if "image/jpeg" in o.get("data", {})]
        path = DOCS/"pages"/f"{cell}-{n}.jpg"
        path.write_bytes(base64.b64decode("".join(pictures[int(n)])))
        self.arguments, self.options["target"] = [f"pages/{path.name}"], f"pages/{page}.html"
        return super().run()


def view_source(app, page, template, context, doctree):
    "The eye above a page leads to the file that it comes from; what search engines show of it is its first paragraph."
    sources = {place: source for source, place in PAGES.items()} | {f"api/{m.name}.md": f"portrait_gan/{m.name}.py" for m in MODULES}
    sources["api/index.md"] = "portrait_gan/__init__.py"
    place = page + (context.get("page_source_suffix") or "")
    said = next((n.astext() for n in doctree.findall(nodes.paragraph)), "") if doctree else ""
    if said: context["metatags"] += f'<meta name="description" content="{escape(" ".join(said.split())[:200])}">\n'
    context["theme_source_view_link"] = f"{CFG['git_url']}/blob/main/{sources.get(place, f'docs/{place}')}"


def find_try(app, config):
    "Whether the page that needs no Python stands in the folder of the site already: docs/try/build.py makes it. Only then links lead to it."
    global TRY
    TRY = config.html_context["try_it"] = (Path(app.outdir)/"try"/"index.html").exists()


def visit_math(self, node):
    block = isinstance(node, nodes.math_block)
    tex = re.sub(r"\\[bB]igg?(?=[(\[])", r"\\left", re.sub(r"\\[bB]igg?(?=[)\]])", r"\\right", node.astext()))  # \big is unknown to it
    formula = tex2mathml(tex, as_block=block)
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app):
    app.connect("config-inited", find_try)
    app.connect("builder-inited", write)
    app.connect("html-page-context", view_source)
    app.add_directive("page-picture", PagePicture)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    return dict(parallel_read_safe=True, parallel_write_safe=True)
