"The glossary: in order, each link leads to a heading that is there, and the first page's terms are in it."
import json
import re
from urllib.parse import unquote

import pytest


@pytest.fixture(scope="module")
def entries(root):
    "Each term with its line."
    lines = (root/"nbs/GLOSSARY.md").read_text(encoding="utf-8").split("\n\n")
    return dict(re.match(r"\*\*(.+?)\*\*: (.+)", line).groups() for line in lines if line.startswith("**"))


def headings(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return {h.strip().replace("\\", "").replace("`", "").replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}


def test_in_order(entries):
    terms = [re.sub("[^a-z0-9 ]", "", term.split("(")[0].lower().replace("λ", "zz")) for term in entries]
    assert terms == sorted(terms) and len(terms) > 50


def test_links_lead_somewhere(root, entries):
    for term, line in entries.items():
        page, _, heading = re.search(r"\]\(([^)#]+)(#?)([^)]*)\)\)$", line).groups()
        assert (root/"nbs"/page).exists(), term
        assert not heading or unquote(heading) in headings(root/"nbs"/page), (term, page, heading)


@pytest.mark.parametrize("term", ["GAN", "adversarial", "conditional", "generator", "discriminator", "U-Net", "skip connection", "patch",
                                  "PatchGAN", "receptive field", "logit", "L1", "detach", "EMA", "sRGB", "D65", "ICC profile", "KID"])
def test_holds(entries, term): assert any(t.lower().startswith(term.lower()) for t in entries)
