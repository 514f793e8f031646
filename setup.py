"Hands the metadata of settings.ini to setuptools; everything else stands in pyproject.toml."
from configparser import ConfigParser

from setuptools import setup

ini = ConfigParser()
ini.read("settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]
extras = {name: cfg[f"{name}_requirements"].split() for name in ("dev", "offline", "eval", "onnx", "demo", "heic")}
extras["dev"] += extras["offline"] + extras["eval"] + extras["onnx"] + extras["heic"]
setup(version=cfg["version"], description=cfg["description"], install_requires=cfg["requirements"].split(),
      extras_require=extras, entry_points={"console_scripts": cfg["console_scripts"].split("\n")})
