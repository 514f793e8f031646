"What keeps the project going: workflows, issue forms, hooks, types, the changelog, the citation, and the move to another address."
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environment import tracked

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT/".github"/"workflows").glob("*.yml"))
CONFIG = ROOT/".github"/"ISSUE_TEMPLATE"/"config.yml"
FORMS = sorted(p for p in CONFIG.parent.glob("*.yml") if p != CONFIG)
SCHEMAS = {p: "github-workflows" for p in WORKFLOWS} | {p: "github-issue-forms" for p in FORMS} | {
    CONFIG: "github-issue-config", ROOT/".github"/"dependabot.yml": "dependabot", ROOT/"CITATION.cff": "citation-file-format"}
SETTINGS = (ROOT/"settings.ini").read_text(encoding="utf-8")
URL, VERSION = (re.search(rf"^{key} = (.+)$", SETTINGS, re.M)[1] for key in ("git_url", "version"))


def load(path): return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # BaseLoader: `on` is a word and 3.10 no number


def jobs(path): return load(path)["jobs"]


def steps(path): return [(name, step) for name, job in jobs(path).items() for step in job.get("steps", [])]


def test_there_are_workflows(): assert {p.stem for p in WORKFLOWS} == {"tests", "wheel", "docs", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflow_has_its_parts(path):
    "Every job runs somewhere or is another file's, ends at some time, and waits for jobs that there are; every step does one thing."
    flow = load(path)
    assert flow["name"] == path.stem and flow["on"] and flow["permissions"] == {"contents": "read"}
    for name, job in flow["jobs"].items():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(flow["jobs"]) - {name}
        if "uses" in job:
            called = load(ROOT/job["uses"])
            assert "workflow_call" in called["on"]
            continue
        assert int(job["timeout-minutes"]) <= 90 and job["runs-on"] and job["steps"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "uses" in step: assert re.fullmatch(r"[\w-]+/[\w./-]+@(v\d+|release/v1)", step["uses"]), step["uses"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflow_expressions(path):
    "What stands in ${{ }} names a context, of the matrix and of steps what there is."
    for job in jobs(path).values():
        text = json.dumps(job)
        for expression in re.findall(r"\$\{\{ (.*?) \}\}", text):
            context, *_ = expression.split(".")
            assert context in ("github", "matrix", "steps"), expression
            if context == "matrix": assert expression.split(".")[1] in job["strategy"]["matrix"]
            if context == "steps": assert expression.split(".")[1] in [s.get("id") for s in job["steps"]]
        assert text.count("${{") == len(re.findall(r"\$\{\{ [\w.-]+ \}\}", text))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflow_scripts_parse_and_name_what_is_there(path):
    "Each `run:` is whole bash, each Python in it whole Python; files of the project are there."
    for _, step in steps(path):
        if "run" not in step: continue
        script = re.sub(r"\$\{\{.*?\}\}", "word", step["run"])
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for code in re.findall(r"python - <<'END'\n(.*?)\nEND$", script, re.S | re.M) + re.findall(r'python -c "(.*?)"', script):
            compile(code, str(path), "exec")
        named = set(re.findall(r"(?<![\w./-])[\w./-]+\.(?:py|md|cff|ini)\b", script)) - set(re.findall(r"> (\S+)", script))
        assert [f for f in named if not (ROOT/f).is_file()] == []


@pytest.mark.skipif(not importlib.util.find_spec("check_jsonschema"), reason="check-jsonschema (pip) is not installed")
@pytest.mark.parametrize("path", SCHEMAS, ids=lambda p: p.name)
def test_workflow_schema(path):
    "Workflows, and what else GitHub reads: by the schemas that the package carries."
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[path]}", path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_workflow_tests_all_pythons_with_the_readme_command():
    test = jobs(ROOT/".github/workflows/tests.yml")["test"]
    lowest = int(re.search(r"min_python = 3\.(\d+)", SETTINGS)[1])
    assert test["strategy"]["matrix"]["python"] == [f"3.{n}" for n in range(lowest, 15)]
    script = "\n".join(s.get("run", "") for s in test["steps"])
    picked = re.search(r"grep -m 1 '(.+?)' README.md", script)[1]
    command = next(line for line in (ROOT/"README.md").read_text().splitlines() if picked in line)
    assert 'pip install -e ".[dev]"' in command and 'eval "$command"' in script


def test_workflow_sends_out_what_was_tried():
    "The release builds nothing itself: it publishes the artifact that three systems have installed, with no token."
    release, wheel = jobs(ROOT/".github/workflows/release.yml"), jobs(ROOT/".github/workflows/wheel.yml")
    assert release["wheel"]["uses"] == "./.github/workflows/wheel.yml" and release["publish"]["needs"] == "wheel"
    assert load(ROOT/".github/workflows/release.yml")["on"] == {"push": {"tags": ["v*"]}}
    assert release["publish"]["permissions"] == {"id-token": "write"} and "secrets." not in (ROOT/".github/workflows/release.yml").read_text()
    assert {o.split("-")[0] for o in wheel["try"]["strategy"]["matrix"]["os"]} == {"ubuntu", "macos", "windows"}
    artifact = [s["with"]["name"] for _, s in steps(ROOT/".github/workflows/wheel.yml") if "artifact" in s.get("uses", "")]
    assert artifact == ["dist", "dist"]
    assert "sphinx-build -W docs" in (ROOT/".github/workflows/docs.yml").read_text()


def test_release_check_compares_versions(tmp_path):
    "The script that a tag starts passes for the version of the files, and for no other."
    script, = [s["run"] for name, s in steps(ROOT/".github/workflows/release.yml") if name == "check" and "run" in s]
    for f in ("settings.ini", "CITATION.cff", "CHANGELOG.md"): shutil.copy(ROOT/f, tmp_path)
    def passes(tag):
        env = dict(GITHUB_REF_NAME=tag, PATH="/usr/bin:/bin")
        return subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=env, capture_output=True).returncode == 0
    assert passes(f"v{VERSION}") and not passes("v99.0.0") and not passes(f"v{VERSION}.1")


def test_release_notes_are_the_changelog_of_that_version(tmp_path):
    script, = [s["run"] for name, s in steps(ROOT/".github/workflows/release.yml") if name == "notes" and "run" in s]
    (tmp_path/"CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0 – 2026-12-01\n\n- new\n\n## 0.1.0 – 2026-11-24\n\n- old\n")
    script = script.replace("gh release", "true")
    subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=dict(GITHUB_REF_NAME="v0.2.0", PATH="/usr/bin:/bin"), check=True)
    assert (tmp_path/"notes.md").read_text().split() == ["-", "new"]


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.name)
def test_issue_forms(path):
    "As GitHub wants them: a name, a description, fields with unique ids of known kinds, one of them required."
    form = load(path)
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title", "assignees"}
    fields = [f for f in form["body"] if f["type"] != "markdown"]
    assert len({f["id"] for f in fields}) == len(fields) and any(f.get("validations", {}).get("required") == "true" for f in fields)
    for f in form["body"]:
        assert f["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert f["attributes"]["value"] if f["type"] == "markdown" else f["attributes"]["label"]


def test_two_forms_and_where_else_to_go():
    assert {p.stem for p in FORMS} == {"wrong-colour", "file-that-fails"}
    for link in load(CONFIG)["contact_links"]:
        assert set(link) == {"name", "url", "about"} and link["url"].startswith(URL)
        if "/blob/main/" in link["url"]: assert (ROOT/link["url"].split("/blob/main/")[1]).exists()


def test_hooks_are_tools_of_the_extra_dev():
    hooks = [h for repo in load(ROOT/".pre-commit-config.yaml")["repos"] for h in repo["hooks"]]
    assert [h["id"] for h in hooks] == ["nbdev-clean", "nbdev-export", "ruff"]
    for h in hooks: assert (TOOLS/h["entry"].split()[0]).exists() and h["language"] == "system"


def test_citation_and_changelog_follow_settings():
    "Also right after a release, when nothing is unreleased."
    citation = load(ROOT/"CITATION.cff")
    assert (citation["version"], citation["repository-code"], citation["cff-version"]) == (VERSION, URL, "1.2.0")
    assert citation["license"] in SETTINGS and citation["authors"][0]["name"] in SETTINGS and citation["title"] and citation["message"]
    heads = re.findall(r"^## (.+)$", (ROOT/"CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    released = [h for h in heads if not h.startswith("Unreleased")]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ – \d{4}-\d\d-\d\d", h) for h in released) and released[0].startswith(f"{VERSION} ")


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    text = (ROOT/name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text): assert (ROOT/target).exists(), target


def test_contributing_says_what_tests_hold():
    "The budgets of its table are those of tests/test_course.py."
    text, tests = ((ROOT/f).read_text(encoding="utf-8") for f in ("CONTRIBUTING.md", "tests/test_course.py"))
    assert "| course page | 1,600 | 220 | 30 | 120 |" in text and "| practice page | | 400 | 45 | 120 |" in text
    for held in ("<= 1600", "220 if course else 400", "30 if course else 45", "> 120"): assert held in tests


@pytest.mark.skipif(not (TOOLS/"pyright").exists(), reason="pyright (pip) is not installed")
def test_types():
    done = subprocess.run([TOOLS/"pyright", "--pythonpath", sys.executable], cwd=ROOT, capture_output=True, text=True)
    if not re.search(r"\d+ errors?, ", done.stdout): pytest.skip(f"pyright could not fetch itself: {done.stderr[-200:]}")
    assert done.returncode == 0 and re.search(r"^0 errors, 0 warnings", done.stdout, re.M), done.stdout


def test_typed_modules_are_there():
    listed = re.search(r"\[tool\.pyright\].*?include = \[(.*?)\]", (ROOT/"pyproject.toml").read_text(), re.S)[1]
    assert all((ROOT/f).is_file() for f in re.findall(r'"(.+?)"', listed)) and len(re.findall(r'"', listed)) > 20


# The move to another address

FORK = "Ada-L/" + "colours"  # in two parts, or this file would move as well


@pytest.fixture
def copy(tmp_path):
    "The tracked files as a repository of their own."
    names = tracked(ROOT)
    for f in names:
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/f, tmp_path/f)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-f", "."], cwd=tmp_path, check=True)
    return tmp_path, names


def publish_at(folder, url):
    return subprocess.run([sys.executable, ".ci/publish_at.py", url], cwd=folder, capture_output=True, text=True)


def test_publish_at(copy):
    "One command moves every address and changes nothing else; another moves all of it back."
    folder, names = copy
    owner, name = URL.split("/")[-2:]
    done = publish_at(folder, f"https://github.com/{FORK}")
    assert done.returncode == 0, done.stderr
    moved = []
    for f in names:
        old, new = (ROOT/f).read_bytes(), (folder/f).read_bytes()
        assert f"{owner}/{name}".encode() not in new and f"{owner}.github.io/{name}".encode() not in new, f
        if new == old: continue
        back = new.decode().replace(FORK, f"{owner}/{name}").replace(FORK.lower().replace("/", ".github.io/"), f"{owner}.github.io/{name}").encode()
        assert back == old, f
        moved.append(f)
    assert len([f for f in moved if f.startswith("nbs/")]) == len(list((ROOT/"nbs").glob("[0-9]*.ipynb")))
    assert {"settings.ini", "CITATION.cff", ".github/ISSUE_TEMPLATE/config.yml", "space/requirements.txt", "CONTRIBUTING.md"} <= set(moved)
    assert f"{len(moved)} files now say https://github.com/{FORK}" in done.stdout
    assert publish_at(folder, URL).returncode == 0
    assert [f for f in names if (ROOT/f).read_bytes() != (folder/f).read_bytes()] == []


@pytest.mark.parametrize("url", ["http://github.com/a/b", "https://github.com/a", "https://example.org/a/b", "https://github.com/a/b.git"])
def test_publish_at_takes_addresses_only(copy, url):
    folder, names = copy
    done = publish_at(folder, url)
    assert done.returncode == 1 and "https://github.com/OWNER/NAME" in done.stderr
    assert [f for f in names if (ROOT/f).read_bytes() != (folder/f).read_bytes()] == []


def test_one_address(root):
    "Every address of the project in tracked files is that of settings.ini."
    owner, name = URL.split("/")[-2:]
    for f in tracked(root):
        if (root/f).suffix in (".jpg", ".safetensors", ".woff2") or not (root/f).is_file(): continue
        text = (root/f).read_text(encoding="utf-8")
        assert set(re.findall(rf"github(?:\.com)?/([\w-]+)/{name}\b", text)) <= {owner, "OWNER"}, f
        assert set(re.findall(rf"([\w-]+)\.github\.io/{name}\b", text)) <= {owner}, f
