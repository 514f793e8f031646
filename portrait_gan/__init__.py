"Black-and-white portraits get their colour from a Pix2Pix GAN; each name here is imported when it is asked for."
from importlib import import_module

_HOMES = dict(Colorizer="colorize", colorize_files="folder", prepare="cache", Portraits="data", TrainConfig="config", RECIPES="config",
              train="run", evaluate_run="report", export_onnx="export", App="app")
__all__ = [*_HOMES]


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version
        try: return version("portrait-gan")
        except PackageNotFoundError: return "unknown"  # a copy that was never installed
    if name in _HOMES: return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def moved(module: str, name: str, **homes: str):
    "What `module` called `name` in version 0.1, from the module it lives in now; raises AttributeError."
    for home, names in homes.items():
        if name in names.split(): return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
