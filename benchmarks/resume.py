"""Kill a training run with SIGKILL at random moments, resume it, and compare what it leaves with an unbroken run, byte for byte.

Each trial starts a run and kills its whole process group at a moment drawn from the unbroken run's wall time, start-up
included; then it resumes, and every resumed run is killed again with probability ½. At the end the newest checkpoint's
.safetensors files and metrics.jsonl must be those of the unbroken run. Exit status 1 unless all are.

    python benchmarks/resume.py
    python benchmarks/resume.py --recipe default --epochs 2 --n 40"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from common import table

from portrait_gan.cache import prepare, save_toys
from portrait_gan.checkpoint import list_checkpoints


def start(
    command: list[str],
    killed_after: float | None,  # seconds; None: let it finish
) -> bool:  # whether it finished
    "Run a command in a process group of its own, and kill the group when its time is up; raises RuntimeError when it fails."
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        try: status = process.wait(killed_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
        except BaseException:  # Ctrl-C: leave nobody behind
            os.killpg(process.pid, signal.SIGKILL)
            raise
        said.seek(0)
        if status: raise RuntimeError(f"{' '.join(command)} ended with status {status}:\n{said.read().decode(errors='replace')}")
        return True


def result(run: Path) -> tuple[dict[str, bytes], bytes]:
    "The networks of the newest checkpoint, and the log."
    newest = list_checkpoints(run, whole=False)[-1]
    return {f"{newest.name}/{p.name}": p.read_bytes() for p in sorted(newest.glob("*.safetensors"))}, (run/"metrics.jsonl").read_bytes()


def main(
    trials: int = 20,
    recipe: str = "smoke",
    epochs: int = 3,
    checkpoint_minutes: float = 0.01,  # small, so that checkpoints within an epoch are met too
    n: int = 240,  # toy portraits
    seed: int = 0,  # of the moments
):
    "SIGKILL at random moments: does the resumed run end where the unbroken one ends?"
    rng, rows = np.random.default_rng(seed), []
    with tempfile.TemporaryDirectory() as tmp:
        cache, whole, run = (Path(tmp)/name for name in ("cache", "whole", "run"))
        size = 64 if recipe == "smoke" else 128
        prepare(save_toys(Path(tmp)/"toys", n, size), cache, size)
        def train(out, *more, killed_after=None):
            words = ["train", cache, "--out", out, "--recipe", recipe, "--epochs", epochs, "--size", size, "--checkpoint-minutes", checkpoint_minutes]
            return start([*map(str, [Path(sys.executable).with_name("portrait-gan"), *words]), *more], killed_after)
        begun = time.perf_counter()
        train(whole)
        seconds, (weights, log) = time.perf_counter() - begun, result(whole)
        print(f"unbroken: {seconds:.1f} s, {', '.join(weights)}", flush=True)
        for trial in range(1, trials + 1):
            met, more = [], []
            while True:
                moment = rng.uniform(0, seconds) if not met or rng.random() < .5 else None
                if train(run, *more, killed_after=moment):
                    if met: break
                    shutil.rmtree(run)  # it was done sooner than the unbroken run: draw another moment
                    continue
                found = list_checkpoints(run, whole=False)
                met, more = [*met, f"{moment:.1f} s, {found[-1].name if found else 'no checkpoint'}"], ["--resume"]
            same_weights, same_log = (a == b for a, b in zip(result(run), (weights, log), strict=True))
            rows.append([trial, "; ".join(met), "yes" if same_weights else "NO", "yes" if same_log else "NO"])
            print(f"trial {trial}: killed at {rows[-1][1]}; weights identical: {rows[-1][2]}, metrics.jsonl identical: {rows[-1][3]}", flush=True)
            shutil.rmtree(run)
    good = sum(row[2:] == ["yes", "yes"] for row in rows)
    table("cpu", ["trial", "killed at, newest checkpoint then", "weights identical", "metrics.jsonl identical"],
          [*rows, [f"**{good} of {trials}**", f"{recipe}, {epochs} epochs, {seconds:.1f} s unbroken", "", ""]])
    sys.exit(good < trials)


if __name__ == "__main__": tyro.cli(main)
