"""What does the command cost before and around its work? Starting, long and thin photos, cores that are busy with something else.

Measures whatever portrait_gan `python` finds, so the same file compares versions:

    python benchmarks/start.py
    git worktree add ../before 4898643 && PYTHONPATH=../before python benchmarks/start.py

Each figure is of the whole command in a process of its own. The ONNX rows need the extra `onnx`; the export is done before. Busy cores are
kept so by processes that count. Peak memory is the process's, all that it imports included; a process that asks for more than 8 GB is
stopped. Linux."""
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

COMMAND = [sys.executable, "-m", "portrait_gan.cli"]
COUNT = """import sys
from portrait_gan.cli import main
try: main(sys.argv[1:])
except SystemExit: print(len(sys.modules), "torch" in sys.modules)"""
SHAPES = [(1, 60_000), (60_000, 1), (100, 30_000), (30_000, 100), (3, 20_000), (20_000, 3), (31, 31_000), (1, 900_000), (2000, 1500), (1, 1)]
LIMIT = 8e9  # bytes


def run(*args, limit: float | None = None) -> tuple[float, float, int, int]:  # seconds, seconds of a core, peak memory in bytes, status
    "The command with these words."
    def set_limit(): resource.setrlimit(resource.RLIMIT_AS, (int(limit),)*2)
    start = time.perf_counter()
    nowhere = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen([*COMMAND, *map(str, args)], **nowhere, preexec_fn=set_limit if limit else None)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss*1024, process.returncode


def gray(h: int, w: int) -> Image.Image:
    "Soft light with grain, of any shape."
    y, x = np.ogrid[:h, :w]
    grain = np.random.default_rng(0).normal(0, 4, (h, w)).astype(np.float32)
    return Image.fromarray((128 + 60*np.sin(y/97, dtype=np.float32) + 50*np.cos(x/131, dtype=np.float32) + grain).clip(0, 255).astype(np.uint8))


def busy(n: int) -> list[subprocess.Popen]: return [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]


def spread(values: list[float]) -> str: return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def table(head: list[str], rows: list[list]):
    print()
    for cells in (head, ["---"] + ["---:"]*(len(head) - 1), *rows): print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def start(tmp: Path, engines: list[str], rounds: int):
    rows, photo = [], ["colorize", tmp/"one.png", "--out", tmp/"one", "--overwrite", "--backend"]
    for what, words in [("`colorize --help`", ["colorize", "--help"]), *((f"one photo, {e}", [*photo, e]) for e in engines)]:
        run(*words)  # warms the disk, and exports
        wall, cpu, _, status = zip(*(run(*words) for _ in range(rounds)), strict=True)
        if any(status): raise SystemExit(f"{what}: status {max(status)}")
        counted = subprocess.run([sys.executable, "-c", COUNT, *map(str, words)], capture_output=True, text=True).stdout.splitlines()[-1].split()
        rows.append([what, spread(wall), spread(cpu), counted[0], "yes" if counted[1] == "True" else "no"])
    table(["start", "seconds", "seconds of a core", "modules", "PyTorch"], rows)


def memory(tmp: Path):
    rows = []
    for h, w in SHAPES:
        gray(h, w).save(tmp/"shape.png")
        wall, _, peak, status = run("colorize", tmp/"shape.png", "--out", tmp/"shapes", "--overwrite", limit=LIMIT)
        told = f"more than {LIMIT/1e9:.0f} GB" if status else f"{peak/1e9:.2f}"
        rows.append([f"{h:,} × {w:,}", f"{h*w/1e6:.2f}", told, f"{wall:.1f}"])
    table(["photo, height × width", "megapixels", "peak memory, GB", "seconds"], rows)


def cores(tmp: Path, engines: list[str], rounds: int):
    rows, quiet = [], {}
    for engine in engines:
        for n in range(3):
            others = busy(n)
            try:
                words = ["colorize", tmp/"12.jpg", "--out", tmp/"large", "--overwrite", "--backend", engine]
                wall, cpu, _, _ = zip(*(run(*words) for _ in range(rounds)), strict=True)
            finally:
                for p in others: p.kill()
                for p in others: p.wait()
            quiet.setdefault(engine, statistics.median(wall))
            rows.append([f"12 megapixels, {engine}", n, spread(wall), f"{statistics.median(wall)/quiet[engine]:.1f} ×", spread(cpu)])
    table(["photo", "busy cores", "seconds", "of quiet", "seconds of a core"], rows)


def main(
    rounds: int = 5,  # of each measurement
    parts: tuple[str, ...] = ("start", "memory", "cores"),  # which tables
    engines: tuple[str, ...] = ("torch", "onnx"),
):
    "Measure and print the tables."
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')}")
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        gray(300, 300).save(tmp/"one.png")
        gray(3000, 4000).save(tmp/"12.jpg", quality=92)
        if "start" in parts: start(tmp, engines, rounds)
        if "memory" in parts: memory(tmp)
        if "cores" in parts: cores(tmp, engines, rounds)


if __name__ == "__main__": tyro.cli(main)
