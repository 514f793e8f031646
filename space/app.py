"""The colouriser as a Gradio page, ready to be a Hugging Face Space: python space/app.py

`pip install -e ".[demo]"`. PORTRAIT_GAN_WEIGHTS names other weights than the bundled ones: a run, a folder or a hub id.
What visitors bring is deleted within two hours, and no path or address can be opened, only uploads."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch comes: threads that wait leave the cores to other visitors

import gradio as gr
import numpy as np
from PIL import Image, ImageColor, ImageDraw
from skimage import data

from portrait_gan.colorize import Colorizer
from portrait_gan.hints import Hint, hints_path, write_hints
from portrait_gan.portrait import Portrait

COLORIZER = Colorizer.from_pretrained(os.environ.get("PORTRAIT_GAN_WEIGHTS"))
HOW = ("Click where you know a colour; it takes the one chosen here, as far as it exists at that place's light." if COLORIZER.takes_hints else
       "No hints: these weights cannot follow any; set PORTRAIT_GAN_WEIGHTS to weights that were trained with hints.")


def samples() -> list[list[str]]:
    "Two grey pictures that may be shown to anybody."
    folder = Path(tempfile.mkdtemp(prefix="portrait-gan-samples-"))
    for name in ("astronaut", "camera"): Image.fromarray(getattr(data, name)()).convert("L").save(folder/f"{name}.png")
    return [[str(p)] for p in sorted(folder.iterdir())]


@contextmanager
def told():
    "What goes wrong is one line for the visitor."
    try: yield
    except (ValueError, OSError, RuntimeError, MemoryError) as e: raise gr.Error(" ".join(str(e).split())) from None


def look(path: str | None, size: int, saturation: float):  # the portrait, before and after, the map of hints, nothing to download yet
    "Read a photo and run the network."
    if not path: return None, None, None, None
    with told(): portrait = Portrait.read(Path(path).read_bytes(), Path(path).name)
    return portrait, *resize(portrait, size, saturation)


def resize(portrait: Portrait | None, size: int, saturation: float):
    "Run the network, perhaps again and at another size; the hints stay."
    if portrait is not None:
        with told(): portrait.predict(COLORIZER, int(size))
    return draw(portrait, saturation)


def draw(portrait: Portrait | None, saturation: float):
    "Before and after, and the photo with its hints; the network does not run again."
    if portrait is None: return None, None, None
    before = portrait.shown if portrait.shown.ndim == 3 else np.repeat(portrait.shown[..., None], 3, 2)
    after = portrait.preview(saturation)
    marked = Image.fromarray(after)
    pen, scale = ImageDraw.Draw(marked), after.shape[1]/portrait.size[0]
    for h in portrait.hints:
        for r, color in ((9, "black"), (8, "white"), (6, ImageColor.getrgb(h.color)[:3])):
            pen.ellipse((h.x*scale - r, h.y*scale - r, h.x*scale + r, h.y*scale + r), fill=color)
    return (before, after), np.asarray(marked), None


def add(portrait: Portrait | None, color: str, saturation: float, click: gr.SelectData):
    "A hint where somebody clicked, in the pixels of the copy that is shown; the network runs once."
    if portrait is not None:
        x, y = click.index
        scale = portrait.size[0]/portrait.shown.shape[1]
        hint = Hint((x + .5)*scale, (y + .5)*scale, in_hex(color))
        with told(): portrait.hint(COLORIZER, [*portrait.hints, hint])
    return portrait, *draw(portrait, saturation)


def in_hex(color: str) -> str:
    "Gradio's picker says #rrggbb or rgba(12.3, 4.5, 6.7, 1)."
    if not color.startswith("rgb"): return color
    return "#" + "".join(f"{round(float(v)):02x}" for v in color[color.index("(") + 1:-1].split(",")[:3])


def undo(portrait: Portrait | None, saturation: float):
    if portrait is not None:
        with told(): portrait.travel(COLORIZER, -1)
    return portrait, *draw(portrait, saturation)


def clear(portrait: Portrait | None, saturation: float):
    if portrait is not None and portrait.hints:
        with told(): portrait.hint(COLORIZER, [])
    return portrait, *draw(portrait, saturation)


def save(portrait: Portrait | None, saturation: float) -> Iterator[list[str]]:
    "The whole photo at its own resolution, and its hints, as files; Gradio copies them into its own cache, which `delete_cache` empties."
    if portrait is None: raise gr.Error("Choose a photo first.")
    with told(): name, content, note = portrait.save(saturation)
    if note: gr.Info(note)
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder)/name).write_bytes(content)
        if portrait.hints: write_hints(Path(folder)/hints_path(portrait.name).name, portrait.hints, portrait.size)
        yield [str(path), *map(str, Path(folder).glob("*.hints.json"))]


with gr.Blocks(title="portrait_gan", analytics_enabled=False, delete_cache=(3600, 3600)) as demo:
    gr.Markdown("# Colour a black-and-white portrait\nThe colours are a proposal: nothing in a grey picture says whether a dress was red or green.")
    state = gr.State()
    with gr.Row():
        with gr.Column():
            photo = gr.File(label="Photo", file_types=["image", ".tif", ".tiff", ".heic", ".avif"], type="filepath")
            gr.Examples(samples(), photo)
            saturation = gr.Slider(0, 2, 1, step=.05, label="Saturation")
            size = gr.Slider(64, 512, COLORIZER.size, step=16, label="Working size, pixels")
            gr.Markdown(HOW)
            with gr.Row(visible=COLORIZER.takes_hints):
                color = gr.ColorPicker("#2e8b57", label="Colour of the next hint")
                back, none = gr.Button("Undo hint"), gr.Button("Clear hints")
        with gr.Column():
            pair = gr.ImageSlider(label="Before and after", type="numpy", interactive=False)
            marked = gr.Image(label="Click to add a hint", type="numpy", interactive=False, visible=COLORIZER.takes_hints)
            button, file = gr.Button("Make the file"), gr.File(label="In colour, at its own resolution", interactive=False, file_count="multiple")
    shown = [pair, marked, file]
    photo.change(look, [photo, size, saturation], [state, *shown])
    size.change(resize, [state, size, saturation], shown, trigger_mode="always_last")
    saturation.change(draw, [state, saturation], shown, trigger_mode="always_last")
    marked.select(add, [state, color, saturation], [state, *shown])
    back.click(undo, [state, saturation], [state, *shown])
    none.click(clear, [state, saturation], [state, *shown])
    button.click(save, [state, saturation], file)

if __name__ == "__main__": demo.launch()
