"""Make trained generators the package's bundled weights: the mean of their weights as fp16, and beside it how they were chosen and scored.

Branches of one run that went different ways from a common epoch can be averaged weight by weight, and their mean is often better than each
of them (Wortsman et al. 2022, "Model soups"). A checkpoint that is named twice counts twice.

    python benchmarks/bundle.py CHECKPOINT [CHECKPOINT …] --data CACHE --out REPORT --size 256 --gain 1.1"""
import json
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro
from torch import nn

from portrait_gan.checkpoint import find_checkpoint, read_metrics, save_generator
from portrait_gan.files import atomic_write
from portrait_gan.generator import load_generator
from portrait_gan.groups import refuse_seen
from portrait_gan.report import evaluate_run, load_colorizer, read_photos, score_candidates


def mean_of(checkpoints: list[Path]) -> tuple[nn.Module, dict]:  # the generator; the first one's config
    "Average networks of one kind, weight by weight."
    networks, configs = zip(*map(load_generator, checkpoints), strict=True)
    states = [n.state_dict() for n in networks]
    for name, value in states[0].items():
        if value.is_floating_point(): value.copy_(torch.stack([s[name] for s in states]).mean(0))
    return networks[0], configs[0]


def _colorizers(mean, candidates):
    "By name: each part, and the mean with these settings."
    for name, what in candidates.items():
        with TemporaryDirectory() as tmp:
            if isinstance(what, dict): save_generator(mean, Path(tmp), what)
            yield name, load_colorizer(tmp if isinstance(what, dict) else what)[0]


def main(
    parts: tyro.conf.Positional[list[Path]],  # runs with their epoch chosen, or checkpoints; the first one's log and settings are kept
    data: Path,  # made by prepare; its test split is scored
    out: Path,  # folder for the report with its pictures
    size: int | None = None,  # short side the network works at; none: that of its training
    gain: float = 1.0,  # of the chroma: what the network calls 1 becomes so many times as colourful
    beside: tuple[Path, ...] = (),  # checkpoints that are scored with the parts, for the record
    every: int = 25,  # of the run's steps, one in so many is kept in the record
):
    "Replace `portrait_gan/weights`, but for its README and LICENSE."
    weights = Path(str(files("portrait_gan")/"weights"))
    for part in parts: refuse_seen(part, data, "test")
    checkpoints = [find_checkpoint(p) for p in parts]
    generator, config = mean_of(checkpoints)
    config["train"] = {k: v for k, v in config["train"].items() if k not in ("data", "split")}  # folders of this machine
    config |= dict(size=size or config["size"], parts=[c.name for c in checkpoints])
    loud = config | dict(ab_scale=round(gain*config["ab_scale"], 3))
    candidates = {c.name: c for c in [*map(find_checkpoint, beside), *checkpoints]} | {"mean": config, f"mean, gain {gain}": loud}
    photos = read_photos(data, "valid", 200)
    scores = score_candidates(_colorizers(generator, candidates), photos)
    save_generator(generator, weights, loud, half=True)
    report = evaluate_run(None, data, out)  # scores what users get: fp16, at this size
    report |= dict(selection=dict(checkpoint=[*candidates][-1], by="eye", n=len(photos), scores=scores))
    del report["figures"]  # photos stay where they are
    with atomic_write(weights/"report.json", "w") as f: json.dump(report, f, indent=1, allow_nan=False)
    with atomic_write(weights/"metrics.jsonl", "w") as f:
        for line in read_metrics(parts[0]):
            if line["kind"] == "epoch" or line["kind"] == "step" and line["step"] % every == 0: f.write(json.dumps(line) + "\n")


if __name__ == "__main__": tyro.cli(main)
