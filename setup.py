"Hands the metadata of settings.ini to setuptools, and the README with links that lead somewhere from a package index too."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ini = ConfigParser()
ini.read("settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]
url = cfg["git_url"]


def absolute(match):
    "A link within the repository, as an address: pictures raw, everything else as a page."
    picture, text, path = match.groups()
    return f"{picture}[{text}]({url}/{'raw' if picture else 'blob'}/main/{path})"


readme = re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)", absolute, Path("README.md").read_text(encoding="utf-8"))
extras = {name: cfg[f"{name}_requirements"].split() for name in ("dev", "offline", "eval", "onnx", "demo", "heic", "docs")}
extras["dev"] += extras["offline"] + extras["eval"] + extras["onnx"] + extras["heic"] + extras["docs"]
setup(version=cfg["version"], description=cfg["description"], long_description=readme, long_description_content_type="text/markdown",
      author=cfg["author"], license_expression=cfg["license"], python_requires=f">={cfg['min_python']}", keywords=cfg["keywords"].split(),
      classifiers=cfg["classifiers"].strip().splitlines(), project_urls=dict(Source=url, Issues=f"{url}/issues"),
      install_requires=cfg["requirements"].split(), extras_require=extras, entry_points={"console_scripts": cfg["console_scripts"].split("\n")})
