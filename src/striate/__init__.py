"""Convolutional networks as published: trained, measured and used by one command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate import datasets, models
    from striate.dense_form import dense
    from striate.evaluation import evaluate
    from striate.recipes import Recipe
    from striate.runs import Run
    from striate.tiled_prediction import predict_tiled
    from striate.tracing import trace
    from striate.training import resume, train
    from striate.weights import build

__version__ = "0.1.0"

__all__ = [
    "Recipe",
    "Run",
    "build",
    "datasets",
    "dense",
    "evaluate",
    "models",
    "predict_tiled",
    "resume",
    "trace",
    "train",
]

# The public names and the rooms they come from; torch is imported on first use.
_ROOMS = {
    "Recipe": "recipes",
    "Run": "runs",
    "build": "weights",
    "dense": "dense_form",
    "evaluate": "evaluation",
    "predict_tiled": "tiled_prediction",
    "resume": "training",
    "trace": "tracing",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name in ("datasets", "models"):
        return import_module(f"striate.{name}")
    if name in _ROOMS:
        return getattr(import_module(f"striate.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'striate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
