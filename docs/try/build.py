"""Put the page that colours photos in the browser together: its own files, a network as ONNX, and ONNX Runtime Web.

    python docs/try/build.py OUT [--checkpoint RUN]

OUT can then be served by any web server, `python -m http.server -d OUT` for one. Needs npm and the extra `onnx`."""
import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as skdata

from portrait_gan.colorize import Colorizer
from portrait_gan.export import OnnxGenerator, export_onnx

HERE = Path(__file__).parent
PAGE = "index.html", "style.css", "app.js", "worker.js", "lab.js", "pixels.js", "hints.js", "mark.js"
# pinned, and its content too: what npm delivers must be what was tried
RUNTIME = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
GLUE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
LICENSE = """ONNX Runtime Web, https://github.com/microsoft/onnxruntime (its ThirdPartyNotices.txt names what it contains)

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def pack(content: bytes, path: Path) -> int:  # bytes of the file
    "Write it with gzip: not every web server compresses what it sends."
    path.write_bytes(gzip.compress(content, mtime=0))
    return path.stat().st_size


def runtime(out: Path) -> int:  # bytes of what is loaded with progress
    "ONNX Runtime Web from npm; raises RuntimeError when it does not come, or is not what was pinned."
    npm = shutil.which("npm")
    if not npm: raise RuntimeError(f"npm is not installed; it brings {RUNTIME} (https://nodejs.org)")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", RUNTIME, "--silent"], cwd=folder, capture_output=True, text=True)
        if done.returncode: raise RuntimeError(f"npm did not give {RUNTIME}: {(done.stderr or done.stdout).strip()[-200:]}")
        package = next(Path(folder).glob("*.tgz"))
        if b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != SHA512:
            raise RuntimeError(f"npm gave another {RUNTIME} than the one that was pinned")
        with tarfile.open(package) as files:
            read = lambda name: files.extractfile(f"package/dist/{name}").read()
            (out/GLUE).write_bytes(read(GLUE))
            (out/"LICENSE.txt").write_text(LICENSE)
            return pack(read(WASM), out/f"{WASM}.gz")


def halve(model: bytes) -> bytes:
    "Keep weights in 16 bits, as the bundled ones are trained to be; the network still computes in 32."
    import onnx
    from onnx import helper, numpy_helper
    model, casts = onnx.load_from_string(model), []
    for weights in model.graph.initializer:
        if weights.data_type != onnx.TensorProto.FLOAT: continue
        name, values = weights.name, numpy_helper.to_array(weights)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max: continue
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def network(out: Path, checkpoint: str | None) -> dict:  # what the page must know of it
    "The network as ONNX with weights of 16 bits; raises ValueError when its answers change by more than a unit of a*b*."
    colorizer = Colorizer.from_pretrained(checkpoint, "cpu")
    planes, size, ab_scale = 4 if colorizer.takes_hints else 1, colorizer.size, colorizer.ab_scale
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(colorizer.generator, path := Path(folder)/"model.onnx", size, ab_scale)
        whole = path.read_bytes()
    half = halve(whole)
    x = np.random.default_rng(0).uniform(-1, 1, (2, planes, 128, 96)).astype(np.float32)
    off = np.abs(OnnxGenerator(whole)(x) - OnnxGenerator(half)(x)).max()*ab_scale
    if not off < 1: raise ValueError(f"{colorizer.name}: weights of 16 bits change its colours by {off:.2g} units of a*b*")
    try: release = version("portrait-gan")
    except PackageNotFoundError: release = ""  # a copy that was never installed
    return dict(planes=planes, size=size, ab_scale=ab_scale, bytes=pack(half, out/"model.onnx.gz"), weights=colorizer.weights,
                version=release)


def build(out: Path, checkpoint: str | None = None):
    "Write the page, all in all; raises RuntimeError, ValueError or OSError, one line each."
    out.mkdir(parents=True, exist_ok=True)
    model = network(out, checkpoint)
    model["bytes"] += runtime(out/"onnxruntime")
    (out/"model.json").write_text(json.dumps(model) + "\n")
    gray = Image.fromarray(skdata.astronaut()).convert("L")  # Eileen Collins, NASA, public domain
    gray.save(out/"example.jpg", quality=90)
    for name in PAGE: shutil.copyfile(HERE/name, out/name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to make or to fill anew")
    parser.add_argument("--checkpoint", help="a run, a folder, a .safetensors file or hf://OWNER/NAME; none: the bundled weights")
    args = parser.parse_args()
    try: build(args.out, args.checkpoint)
    except (RuntimeError, ValueError, OSError) as e: sys.exit(f"error: {e}")
    size = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {size/1e6:.1f} MB; look at it with: python -m http.server -d {args.out}")
