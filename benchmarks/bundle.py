"""Make a run the package's bundled weights: its chosen generator as fp16, and beside it how that was trained, chosen and scored.

    portrait-gan evaluate RUN --data CACHE
    python benchmarks/bundle.py RUN --data CACHE --out REPORT"""
import json
from importlib.resources import files
from pathlib import Path

import tyro

from portrait_gan.checkpoint import find_checkpoint, read_metrics, save_generator
from portrait_gan.files import atomic_write
from portrait_gan.generator import load_generator
from portrait_gan.groups import refuse_seen
from portrait_gan.report import evaluate_run


def main(
    run: tyro.conf.Positional[Path],  # trained, and its epoch chosen
    data: Path,  # made by prepare; its test split is scored
    out: Path,  # folder for the report with its pictures
    size: int | None = None,  # short side the network works at; none: that of its training
    gain: float = 1.0,  # of the chroma: what the network calls 1 becomes so many times as colourful
    every: int = 25,  # of the run's steps, one in so many is kept in the record
):
    "Replace `portrait_gan/weights`, but for its README and LICENSE."
    weights = Path(str(files("portrait_gan")/"weights"))
    refuse_seen(run, data, "test")
    generator, config = load_generator(find_checkpoint(run))
    config["train"] = {k: v for k, v in config["train"].items() if k not in ("data", "split")}  # folders of this machine
    save_generator(generator, weights, config | dict(size=size or config["size"], ab_scale=gain*config["ab_scale"]), half=True)
    chosen = json.loads((run/"chosen.json").read_text())
    report = evaluate_run(None, data, out) | dict(selection=chosen)  # scores what users get: fp16, at this size
    del report["figures"]  # photos stay where they are
    with atomic_write(weights/"report.json", "w") as f: json.dump(report, f, indent=1, allow_nan=False)
    with atomic_write(weights/"metrics.jsonl", "w") as f:
        for line in read_metrics(run):
            if line["kind"] == "epoch" or line["kind"] == "step" and line["step"] % every == 0: f.write(json.dumps(line) + "\n")


if __name__ == "__main__": tyro.cli(main)
