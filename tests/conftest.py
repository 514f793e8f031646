"What the tests share: the repository, the development photos, the command as a user types it."
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root(): return ROOT


@pytest.fixture(scope="session")
def portraits():
    "Real photos for development; they are not part of the project."
    folder = ROOT.parent/"shared"/"portraits"
    if not folder.is_dir(): pytest.skip("the development photos (../shared/portraits) are not here")
    return folder


@pytest.fixture(scope="session")
def command():
    "portrait-gan in a process of its own: (status, stdout, stderr)."
    def run(*args, cwd, timeout=300, **env):
        program = Path(sys.executable).with_name("portrait-gan")
        done = subprocess.run([str(program), *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=timeout,
                              env=os.environ | dict(PORTRAIT_GAN_PRESET="smoke") | env)
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.fixture
def here(monkeypatch):
    "Training in this process as the command does it with OMP_NUM_THREADS=1 and no GPU."
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.set_num_threads(threads)
