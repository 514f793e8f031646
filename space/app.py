"""The colouriser as a Gradio page, ready to be a Hugging Face Space: python space/app.py

`pip install -e ".[demo]"`. PORTRAIT_GAN_WEIGHTS names other weights than the bundled ones: a run, a folder or a hub id.
What visitors bring is deleted within two hours, and no path or address can be opened, only uploads."""
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch comes: threads that wait leave the cores to other visitors

import gradio as gr
import numpy as np
from PIL import Image, ImageColor, ImageDraw
from skimage import data

from portrait_gan.colorize import Colorizer
from portrait_gan.hints import Hint, hints_path, parse_hint, read_hints, write_hints
from portrait_gan.portrait import Portrait, as_file
from portrait_gan.save import SUFFIXES

COLORIZER = Colorizer.from_pretrained(os.environ.get("PORTRAIT_GAN_WEIGHTS"))
FORMATS = [f for f in ("jpg", "png", "tif", "webp") if SUFFIXES["." + f] in Image.SAVE]
HOW = ("Click where you know a colour; it takes the one chosen here, as far as it exists at that place's light." if COLORIZER.takes_hints else
       "No hints: these weights cannot follow any; set PORTRAIT_GAN_WEIGHTS to weights that were trained with hints.")


def samples() -> list[list[str]]:
    "Two grey pictures that may be shown to anybody."
    folder = Path(tempfile.mkdtemp(prefix="portrait-gan-samples-"))
    for name in ("astronaut", "camera"): Image.fromarray(getattr(data, name)()).convert("L").save(folder/f"{name}.png")
    return [[str(p)] for p in sorted(folder.iterdir())]


FAULTS = ValueError, OSError, RuntimeError, MemoryError


def tell(fault: Exception):
    "What goes wrong is one line for the visitor, and what is seen stays."
    gr.Warning(" ".join(str(fault).split()))
    return gr.skip()


def told(act: Callable) -> Callable:
    @wraps(act)
    def tried(*args, **options):
        try: return act(*args, **options)
        except FAULTS as e: return tell(e)
    return tried


@told
def look(path: str | None, size: int, saturation: float):  # the portrait, and what `draw` gives
    "Read a photo and run the network."
    if not path: return None, *draw(None, saturation)
    portrait = Portrait.read(Path(path).read_bytes(), Path(path).name)
    portrait.predict(COLORIZER, int(size))
    return portrait, *draw(portrait, saturation)


@told
def resize(portrait: Portrait | None, size: int, saturation: float):
    "Run the network, perhaps again and at another size; the hints stay."
    if portrait is not None: portrait.predict(COLORIZER, int(size))
    return draw(portrait, saturation)


def draw(portrait: Portrait | None, saturation: float):  # before and after; the map of hints; the hints in words; nothing to download yet
    "What is seen of a portrait; the network does not run again."
    if portrait is None: return None, None, "", None
    before = portrait.shown if portrait.shown.ndim == 3 else np.repeat(portrait.shown[..., None], 3, 2)
    after = portrait.preview(saturation)
    marked = Image.fromarray(after)
    pen, scale = ImageDraw.Draw(marked), after.shape[1]/portrait.size[0]
    for h in portrait.hints:
        for r, color in ((9, "black"), (8, "white"), (6, ImageColor.getrgb(h.color)[:3])):
            pen.ellipse((h.x*scale - r, h.y*scale - r, h.x*scale + r, h.y*scale + r), fill=color)
    short = lambda v: f"{v:g}" if float(f"{v:g}") == v else f"{v}"
    lines = (f"{short(h.x)}, {short(h.y)}, {h.color}" + ("" if h.radius is None else f", {short(h.radius)}") for h in portrait.hints)
    return (before, after), np.asarray(marked), "\n".join(lines), None


def change(portrait: Portrait | None, hints: list[Hint], saturation: float):
    "Other hints; the network runs once."
    if portrait is not None and hints != portrait.hints: portrait.hint(COLORIZER, hints)
    return portrait, *draw(portrait, saturation)


@told
def add(portrait: Portrait | None, color: str, saturation: float, click: gr.SelectData):
    "A hint where somebody clicked, in the pixels of the copy that is shown."
    if portrait is None: return change(None, [], saturation)
    x, y = click.index
    scale = portrait.size[0]/portrait.shown.shape[1]
    hint = Hint(round((x + .5)*scale, 1), round((y + .5)*scale, 1), in_hex(color))
    return change(portrait, [*portrait.hints, hint], saturation)


@told
def write(portrait: Portrait | None, lines: str, saturation: float):
    "Hints as they are typed: without a mouse, and to move, recolour, widen or remove one."
    hints = [parse_hint(line) for line in lines.splitlines() if line.strip()]
    return gr.skip() if portrait is None or hints == portrait.hints else change(portrait, hints, saturation)


@told
def bring(portrait: Portrait | None, path: str, saturation: float):
    "Hints of another day."
    if portrait is None: raise ValueError("Choose their photo first.")
    with as_file(Path(path).read_bytes(), Path(path).name) as file: hints = read_hints(file, portrait.size)
    return change(portrait, hints, saturation)


@told
def clear(portrait: Portrait | None, saturation: float): return change(portrait, [], saturation)


@told
def travel(portrait: Portrait | None, saturation: float, steps: int):
    if portrait is not None: portrait.travel(COLORIZER, steps)
    return portrait, *draw(portrait, saturation)


def in_hex(color: str) -> str:
    "Gradio's picker says #rrggbb or rgba(12.3, 4.5, 6.7, 1)."
    if not color.startswith("rgb"): return color
    return "#" + "".join(f"{round(float(v)):02x}" for v in color[color.index("(") + 1:-1].split(",")[:3])


def save(portrait: Portrait | None, saturation: float, format: str) -> Iterator[list[str]]:
    "The whole photo at its own resolution, and its hints, as files; Gradio copies them into its own cache, which `delete_cache` empties."
    try:
        if portrait is None: raise ValueError("Choose a photo first.")
        name, content, note = portrait.save(saturation, format or None)
    except FAULTS as e: return (yield tell(e))
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
            format = gr.Dropdown([("as it came", ""), *FORMATS], value="", label="Format")
            button, file = gr.Button("Make the file"), gr.File(label="In colour, at its own resolution", interactive=False, file_count="multiple")
        with gr.Column():
            pair = gr.ImageSlider(label="Before and after", type="numpy", interactive=False, buttons=["fullscreen"])
            gr.Markdown(HOW)
            with gr.Column(visible=COLORIZER.takes_hints):
                with gr.Row():
                    color = gr.ColorPicker("#2e8b57", label="Colour of the next hint", min_width=180)
                    back, again, none = (gr.Button(name, min_width=100, size="md") for name in ("Undo hint", "Redo hint", "Clear hints"))
                marked = gr.Image(label="Click to add a hint", type="numpy", interactive=False, buttons=["fullscreen"])
                lines = gr.Textbox(label="Hints, one a line: x, y, colour, radius", lines=3, placeholder="300, 420, olive",
                                   info="Pixels of the photo. Change or delete a line, then leave the field.")
                hints = gr.UploadButton("Hints of another day (.hints.json)", file_types=[".json"], size="sm")
    shown = [pair, marked, lines, file]
    photo.change(look, [photo, size, saturation], [state, *shown])
    # one after the other: a field that is left and the click that leaves it come at once, and both change the hints
    in_turn = dict(concurrency_id="hints", concurrency_limit=1)
    size.change(resize, [state, size, saturation], shown, trigger_mode="always_last", **in_turn)
    saturation.change(draw, [state, saturation], shown, trigger_mode="always_last")
    marked.select(add, [state, color, saturation], [state, *shown], **in_turn)
    gr.on([lines.submit, lines.blur], write, [state, lines, saturation], [state, *shown], show_progress="hidden", **in_turn)
    hints.upload(bring, [state, hints, saturation], [state, *shown], **in_turn)
    for step, steps in ((back, -1), (again, 1)): step.click(partial(travel, steps=steps), [state, saturation], [state, *shown], **in_turn)
    none.click(clear, [state, saturation], [state, *shown], **in_turn)
    button.click(save, [state, saturation, format], file)

if __name__ == "__main__": demo.launch()
