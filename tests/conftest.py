"What the tests share: the repository, the development photos, the command as a user types it."
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two workers and what they start share the cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ctypes
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from environment import tracked

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
    def run(*args, cwd, timeout=1200, **env):
        program = Path(sys.executable).with_name("portrait-gan")
        done = subprocess.run([str(program), *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=timeout,
                              env=os.environ | dict(PORTRAIT_GAN_PRESET="smoke") | env)
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.fixture(scope="session")
def archives(root, tmp_path_factory):
    "The wheel and the sdist of this checkout."
    folder = tmp_path_factory.mktemp("archives")
    for f in tracked(root):
        (folder/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/f, folder/f)
    code = "from setuptools import build_meta as b; b.build_wheel('out'); b.build_sdist('out')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return next((folder/"out").glob("*.whl")), next((folder/"out").glob("*.tar.gz"))


@pytest.fixture(scope="session")
def deaf_weights(tmp_path_factory):
    "The bundled network without its three planes for hints: it answers as that one does to nobody's hints, and takes none."
    from portrait_gan.checkpoint import save_generator
    from portrait_gan.generator import build_generator, load_generator
    bundled, config = load_generator()
    network, state = build_generator(config["encoder"], None), bundled.state_dict()
    stem = next(iter(state))
    network.load_state_dict(state | {stem: state[stem][:, :1]})
    return save_generator(network, tmp_path_factory.mktemp("deaf"), dict(size=config["size"], ab_scale=config["ab_scale"]), half=True)


@pytest.fixture
def unprivileged():
    "A context in which permissions hold for root too: it does without the two capabilities that override them (Linux)."
    @contextmanager
    def drop():
        if os.geteuid() != 0:
            yield
            return
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32*2)(0x20080522, 0)  # version 3, this thread and those it starts
        sets = (ctypes.c_uint32*6)()  # effective, permitted, inheritable; the lower bits, then the higher
        assert libc.capget(header, sets) == 0
        before = sets[0]
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert libc.capset(header, sets) == 0
        try: yield
        finally:
            sets[0] = before
            assert libc.capset(header, sets) == 0
    return drop


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
