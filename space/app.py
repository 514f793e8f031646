"""The colouriser as a Gradio page, ready to be a Hugging Face Space: python space/app.py

`pip install -e ".[demo]"`. What visitors bring is deleted within two hours, and no path or address can be opened, only uploads."""
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch comes: threads that wait leave the cores to other visitors

import gradio as gr
import numpy as np
from PIL import Image
from skimage import data

from portrait_gan.app import Portrait
from portrait_gan.colorize import Colorizer

COLORIZER = Colorizer.from_pretrained()


def samples() -> list[list[str]]:
    "Two grey pictures that may be shown to anybody."
    folder = Path(tempfile.mkdtemp(prefix="portrait-gan-samples-"))
    for name in ("astronaut", "camera"): Image.fromarray(getattr(data, name)()).convert("L").save(folder/f"{name}.png")
    return [[str(p)] for p in sorted(folder.iterdir())]


def look(path: str | None, size: int, saturation: float):  # the portrait, before and after, nothing to download yet
    "Read a photo and run the network."
    if not path: return None, None, None
    try:
        portrait = Portrait.read(Path(path).read_bytes(), Path(path).name)
        portrait.predict(COLORIZER, int(size))
    except ValueError as e: raise gr.Error(" ".join(str(e).split())) from None
    return portrait, *draw(portrait, saturation)


def draw(portrait: Portrait | None, saturation: float):
    "Before and after; the network does not run again."
    if portrait is None: return None, None
    before = portrait.shown if portrait.shown.ndim == 3 else np.repeat(portrait.shown[..., None], 3, 2)
    return (before, portrait.preview(saturation)), None


def save(portrait: Portrait | None, saturation: float) -> Iterator[str]:
    "The whole photo at its own resolution, as a file; Gradio copies it into its own cache, which `delete_cache` empties."
    if portrait is None: raise gr.Error("Choose a photo first.")
    name, content, note = portrait.save(saturation)
    if note: gr.Info(note)
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder)/name).write_bytes(content)
        yield str(path)


with gr.Blocks(title="portrait_gan", analytics_enabled=False, delete_cache=(3600, 3600)) as demo:
    gr.Markdown("# Colour a black-and-white portrait\nThe colours are a proposal: nothing in a grey picture says whether a dress was red or green.")
    state = gr.State()
    with gr.Row():
        with gr.Column():
            photo = gr.File(label="Photo", file_types=["image", ".tif", ".tiff", ".heic", ".avif"], type="filepath")
            gr.Examples(samples(), photo)
            saturation = gr.Slider(0, 2, 1, step=.05, label="Saturation")
            size = gr.Slider(64, 512, COLORIZER.size, step=16, label="Working size, pixels")
        with gr.Column():
            pair = gr.ImageSlider(label="Before and after", type="numpy", interactive=False)
            button, file = gr.Button("Make the file"), gr.File(label="In colour, at its own resolution", interactive=False)
    photo.change(look, [photo, size, saturation], [state, pair, file])
    size.change(look, [photo, size, saturation], [state, pair, file], trigger_mode="always_last")
    saturation.change(draw, [state, saturation], [pair, file], trigger_mode="always_last")
    button.click(save, [state, saturation], file)

if __name__ == "__main__": demo.launch()
