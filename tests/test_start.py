"What a start imports, what long and thin photos cost, what busy cores are left: modules, bytes and settings, never seconds."
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from portrait_gan import export
from portrait_gan.checkpoint import save_generator
from portrait_gan.cli import COMMANDS
from portrait_gan.colorize import Colorizer
from portrait_gan.data import toy_portraits
from portrait_gan.export import OnnxGenerator, cached_onnx, export_onnx
from portrait_gan.folder import colorize_files
from portrait_gan.generator import LITE, build_generator, load_generator, predict_ab
from portrait_gan.lab import lab_to_rgb, to_pixels
from portrait_gan.lite import LiteGenerator
from portrait_gan.photo import MAX_PIXELS
from portrait_gan.pixels import join_lab, lightness, working_size
from portrait_gan.pretrained import find_weights

RUN = """import json, os, sys
{before}
known = set(sys.modules)
from portrait_gan.cli import main
try: main(sys.argv[1:])
except SystemExit as e: status = e.code
open("told.json", "w").write(json.dumps(dict(status=status, modules=sorted(set(sys.modules) - known), policy=os.environ.get("OMP_WAIT_POLICY"))))"""


def start(cwd, *args, before="", **env):
    "The command in a Python of its own: its status, and which modules it has imported since `before`."
    done = subprocess.run([sys.executable, "-c", RUN.format(before=before), *map(str, args)], cwd=cwd, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | env)
    told = json.loads((cwd/"told.json").read_text())
    return told | dict(modules=set(told["modules"]), out=done.stdout + done.stderr)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(toy_portraits(1, 70)[0]).convert("L").save(tmp_path/"x.png")
    return tmp_path/"x.png"


# imports

@pytest.mark.parametrize("args, status", [
    (["--help"], 0), ([], 2), (["paint"], 2), (["--", "colorize"], 2), (["colorize", "--help"], 0), (["colorize", "x.png"], 2),
    (["colorize", "x.png", "--out", "y", "--quality", "best"], 2), (["prepare", "--help"], 0), (["evaluate", "--help"], 0),
    (["export", "--help"], 0), (["demo", "--minutes", "many"], 2)])
def test_help_and_mistakes_import_nothing_large(tmp_path, args, status):
    told = start(tmp_path, *args)
    assert told["status"] == status and not told["modules"] & {"torch", "numpy", "PIL", "scipy", "skimage", "pooch"}
    if status == 0: assert set(told["out"].split()) & {"colorize", "--out", "--size", "--data"}


def test_help_names_every_command(tmp_path):
    out = start(tmp_path, "--help")["out"]
    assert all(name in out for name in ("demo", "prepare", "train", "evaluate", "colorize", "export"))
    assert "--lr-encoder" in start(tmp_path, "train", "--help")["out"]


@pytest.mark.parametrize("module", ["files", "photo", "pixels", "pretrained", "checkpoint", "export", "colorize", "folder", "cli"])
def test_modules_on_the_way_to_onnx_import_no_torch(tmp_path, module):
    large = ("torch", "huggingface_hub", "onnxruntime", "safetensors", "requests")
    code = f"import sys, portrait_gan.{module}; print([m for m in {large} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True).stdout == "[]\n"


HEAVY = {"torchvision", "timm", "segmentation_models_pytorch", "accelerate", "huggingface_hub", "torch._dynamo", "sympy",
         "torch.distributed.fsdp", "onnx", "onnxruntime", "matplotlib"}


def test_colouring_by_torch_imports_torch_and_no_more(photo):
    told = start(photo.parent, "colorize", photo, "--out", "out", before="import torch")
    assert told["status"] == 0 and (photo.parent/"out/x.png").exists()
    assert not told["modules"] & HEAVY
    assert told["policy"] == "PASSIVE"
    assert start(photo.parent, "colorize", photo, "--out", "out", OMP_WAIT_POLICY="ACTIVE")["policy"] == "ACTIVE"  # what the user says


class Halves(nn.Module):
    "A network that is exported in a moment."
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, L): return self.conv(L)/2


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("onnx")/"halves.onnx"
    export_onnx(Halves(), path, 64, 110.)
    return path


def test_colouring_by_a_given_onnx_file_imports_no_torch(photo, onnx_file):
    told = start(photo.parent, "colorize", photo, "--out", "out", "--checkpoint", onnx_file, "--tta", "--compare")
    assert told["status"] == 0 and np.ptp(np.asarray(Image.open(photo.parent/"out/x.png")), -1).max() > 0
    assert "onnxruntime" in told["modules"] and not told["modules"] & ({"torch"} | HEAVY - {"onnxruntime"})


@pytest.mark.parametrize("what", ["bundled", "run", "file"])
def test_the_second_start_by_onnx_imports_no_torch(photo, onnx_file, monkeypatch, what):
    "The first exports into the cache (here: a stand-in); the second finds it by the weights' file and settings alone."
    folder = photo.parent
    monkeypatch.setattr(export, "export_onnx", lambda generator, path, *_: (path.parent.mkdir(exist_ok=True), shutil.copy(onnx_file, path)))
    made = folder/"run/checkpoints/epoch_0001"
    save_generator(build_generator("resnet18", None), made, dict(ab_scale=100., size=64))
    (made/"state.json").write_text("{}")
    path = {"bundled": None, "run": folder/"run", "file": made/"generator.safetensors"}[what]
    ready = cached_onnx(*find_weights(made if what == "run" else path), folder/"cache")
    words = [] if path is None else ["--checkpoint", path]
    cache = "import pooch, pathlib; pooch.os_cache = lambda name: pathlib.Path('cache')"
    told = start(folder, "colorize", photo, "--out", "out", "--backend", "onnx", *words, before=cache)
    assert told["status"] == 0 and "onnxruntime" in told["modules"] and not told["modules"] & {"torch", "huggingface_hub", "safetensors"}
    assert list((folder/"cache").iterdir()) == [ready]


def test_other_weights_or_settings_are_another_file(onnx_file, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(export, "export_onnx", lambda generator, path, size, ab_scale: made.append((size, ab_scale)) or path.touch())
    (tmp_path/"cache").mkdir()
    for seed, size in ((0, 64), (0, 64), (0, 32), (1, 64)):
        torch.manual_seed(seed)
        save_generator(build_generator("resnet18", None), tmp_path/"x", dict(ab_scale=100., size=size))
        cached_onnx(*find_weights(tmp_path/"x"), tmp_path/"cache")
    assert made == [(64, 100.), (32, 100.), (64, 100.)] and len(list((tmp_path/"cache").iterdir())) == 3


def test_threads_of_onnx_runtime_sleep(onnx_file):
    assert OnnxGenerator(onnx_file).session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_default_of_max_pixels(): assert COMMANDS["colorize"](("x",), "y").max_pixels == MAX_PIXELS


def test_the_hub_gets_what_from_pretrained_reads(tmp_path, monkeypatch):
    import huggingface_hub
    sent = {}
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, repo_id, **options: huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}"))
    def upload_folder(self, repo_id, folder_path, **options): sent[repo_id] = shutil.copytree(folder_path, tmp_path/"sent")
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    colorizer = Colorizer(build_generator("resnet18", None), 64, 128., "cpu")
    colorizer.push_to_hub("me/portraits", private=True)
    assert sorted(p.name for p in sent["me/portraits"].iterdir()) == ["README.md", "config.json", "generator.safetensors"]
    assert "working size 64 px" in (tmp_path/"sent/README.md").read_text()
    again = Colorizer.from_pretrained(tmp_path/"sent", "cpu")
    assert (again.size, again.ab_scale) == (64, 128.)
    for a, b in zip(again.generator.state_dict().values(), colorizer.generator.state_dict().values(), strict=True): assert torch.equal(a, b)


def test_weights_of_the_light_network_go_to_and_fro(tmp_path):
    "What colours is page 25's network; what it saves, page 05's loads, and the other way round."
    light = Colorizer.from_pretrained(device="cpu")
    assert isinstance(light.generator, LiteGenerator)
    light.save_pretrained(tmp_path/"saved")
    assert json.loads((tmp_path/"saved/config.json").read_text())["encoder"] == LITE
    by_smp, config = load_generator(tmp_path/"saved")
    assert config["size"] == light.size
    L = torch.randn(1, 1, 40, 70, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    with torch.inference_mode(): assert torch.allclose(by_smp(L), light.generator(L), atol=1e-5)


# memory

SHAPES = [(1, 60_000), (60_000, 1), (100, 30_000), (30_000, 100), (3, 20_000), (20_000, 3), (31, 31_000), (1, 1), (2000, 1500), (1, 900_000)]
MEASURE = """import os, resource, sys
from pathlib import Path
from portrait_gan.colorize import Colorizer
from portrait_gan.folder import colorize_files
import portrait_gan.lite, safetensors.torch
def peak(work):
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (int(Path("/proc/self/statm").read_text().split()[0])*4096 + 6*10**9,)*2)
        os._exit(work())
    _, status, used = os.wait4(child, 0)
    return status, used.ru_maxrss*1024
def color(path):
    (result,) = colorize_files(Colorizer.from_pretrained(device="cpu"), path, "out", compare=True)
    return bool(result.problem or result.note)
_, base = peak(lambda: 0)
for path in sorted(Path("in").iterdir()):
    status, most = peak(lambda: color(path))
    print(path.stem, status, most - base, flush=True)"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")
def test_memory_grows_with_pixels_whatever_the_shape(tmp_path):
    "Not with height × height: 60,000 × 1 pixels once took 14 GB. What the network takes for its largest picture is the same for all."
    (tmp_path/"in").mkdir()
    for h, w in SHAPES: Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), h*w//200 + 1)[:h*w].reshape(h, w)).save(tmp_path/f"in/{h}x{w}.png")
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr
    found = {name: (int(status), int(more)) for name, status, more in (line.split() for line in done.stdout.splitlines())}
    assert len(found) == len(SHAPES)
    for h, w in SHAPES:
        status, more = found[f"{h}x{w}"]
        assert status == 0 and more < 700e6 + 40*h*w, (h, w, more)
        with Image.open(tmp_path/f"out/{h}x{w}.png") as im: assert (im.size, im.mode) == ((w, h), "RGB")


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (33, 57), (57, 33), (300, 300), (700, 90), (90, 700), (257, 513), (600, 500)])
def test_joined_as_page_02_would(shape):
    "Bicubic enlarging as PyTorch has it, borders included, then page 02's way back."
    rng, (h, w) = np.random.default_rng(0), working_size(*shape, 32)
    L_star, ab = rng.uniform(0, 100, (1, 1, *shape)).astype(np.float32), rng.normal(0, 40, (1, 2, h, w)).astype(np.float32)
    large = F.interpolate(torch.from_numpy(ab), shape, mode="bicubic", align_corners=False)
    for dtype, near in ((np.uint8, 1), (np.uint16, 257)):
        expected = to_pixels(lab_to_rgb(torch.cat([torch.from_numpy(L_star), large], 1)), dtype).astype(int)
        off = np.abs(join_lab(L_star, ab, dtype=dtype).astype(int) - expected)
        assert (off > near).mean() < 1e-4 and off.max() <= 15*near  # where rounding decides a step of the bisection: 0.3 units of chroma
    assert np.array_equal(join_lab(torch.from_numpy(L_star), torch.from_numpy(ab)), join_lab(L_star, ab))  # as in 0.1


def test_the_small_copy_is_made_on_the_cpu(monkeypatch):
    "Not every accelerator can average while it reduces (MPS cannot)."
    def interpolate(*_, **__): raise NotImplementedError("aten::_upsample_bicubic2d_aa.out")
    L_star = torch.from_numpy(lightness(toy_portraits(1, 90)[0]))
    expected = F.interpolate(L_star, (30, 30), mode="bicubic", antialias=True, align_corners=False)/50 - 1
    monkeypatch.setattr(F, "interpolate", interpolate)
    ab = predict_ab(nn.Identity(), L_star, 30, 1.)
    assert torch.allclose(ab, expected, atol=1e-4)


def test_a_batch_is_a_row_of_single_photos(tmp_path):
    colorizer = Colorizer(build_generator("resnet18", None), 32, device="cpu")
    photos = [p[..., 0] for p in toy_portraits(3, 50)]
    L_star, ab = colorizer.predict(photos, tta=True)
    assert L_star.shape == (3, 1, 50, 50) and ab.shape == (3, 2, 32, 32) and ab.dtype == np.float32
    for i, p in enumerate(photos):
        alone = colorizer.predict([p], tta=True)
        assert np.allclose(alone[0], L_star[i:i + 1]) and np.abs(alone[1] - ab[i:i + 1]).max() < .02
    for i, p in enumerate(photos): Image.fromarray(p).save(tmp_path/f"{i}.png")
    for i, result in enumerate(colorize_files(colorizer, sorted(tmp_path.glob("*.png")), tmp_path/"out", tta=True)):
        expected = join_lab(L_star[i:i + 1], ab[i:i + 1]).astype(int)
        assert np.abs(np.asarray(Image.open(result.output)) - expected).max() <= 1
