"""Drawings of answers. matplotlib is imported when one is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from perceptron_client.errors import InvalidArgument, PackageMissing

if TYPE_CHECKING:
    from perceptron_client.answers.jobs import Event, Job
    from perceptron_client.answers.models import Version

MAX_BARS = 30


def loaded(events: Iterable[Event] | None, job_id: str, curve: Callable[[str], Any] | None) -> list[Event]:
    """Return the events of a job: those given, or what the client loads.

    Raises:
        InvalidArgument: none are given, and they cannot be loaded here.
    """
    if events is not None:
        return list(events)
    found = None if curve is None else curve(job_id)
    if inspect.iscoroutine(found):
        found.close()
        found = None
    if found is None:
        raise InvalidArgument("give the events of the job: [event async for event in client.jobs.events(job.id)]")
    return list(found)


def learning_curve(job: Job, events: Iterable[Event], ax: Any) -> Any:
    """Draw cost and validation cost by epoch; return the axes."""
    if ax is None:
        ax = _pyplot().subplots()[1]
    points = [event.data for event in events if event.type == "epoch" and event.data.get("epoch") is not None]
    for name, label in (("cost", "training"), ("validation_cost", "held out")):
        shown = [(each["epoch"], each[name]) for each in points if each.get(name) is not None]
        if shown:
            ax.plot(*zip(*shown, strict=True), label=label, marker="." if len(shown) == 1 else None)
    if job.result is not None and job.result.best_epoch is not None:
        ax.axvline(job.result.best_epoch, linestyle=":", color="grey", label="published")
    ax.set(xlabel="epoch", ylabel="cost", title=_text(f"{job.model}, {job.id}"))
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax


def version(shown: Version, figure: Any) -> Any:
    """Draw the weights of a version, and the confusion matrix if there is one; return the figure."""
    matrix = shown.metrics.get("confusion_matrix")
    has_weights = shown.weights is not None
    n_parts = has_weights + (matrix is not None)
    if n_parts == 0:
        raise InvalidArgument(
            f"version {shown.version} of {shown.model} shows neither weights nor a confusion matrix: it is too large"
        )
    if figure is None:
        n_bars = min(len(shown.feature_names), MAX_BARS) if has_weights else 0
        figure = _pyplot().figure(figsize=(5.5 * n_parts, max(4, 0.22 * n_bars)), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, n_parts)))
    if has_weights:
        _weights(shown, axes.pop(0))
    if matrix is not None:
        _confusion(shown, np.asarray(matrix), axes.pop(0))
    figure.suptitle(_text(f"{shown.model}, version {shown.version}"))
    return figure


def _weights(shown: Version, ax: Any) -> None:
    assert shown.weights is not None
    first = shown.weights[0]
    values = first[:, 0] if first.shape[1] == 1 else np.linalg.norm(first, axis=1)
    order = np.argsort(-np.abs(values))[:MAX_BARS][::-1]
    ax.barh(range(len(order)), values[order])
    ax.set_yticks(range(len(order)), [_text(shown.feature_names[k]) for k in order])
    ax.set_title("weights" if first.shape[1] == 1 else "norm of the weights")


def _confusion(shown: Version, matrix: Any, ax: Any) -> None:
    ax.imshow(matrix, cmap="Blues")
    classes = [_text(str(each)) for each in shown.task.get("classes") or range(len(matrix))]
    ax.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 6 else 0)
    ax.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for (i, j), count in np.ndenumerate(matrix):
            ax.text(j, i, f"{count:g}", ha="center", va="center", color="white" if count > matrix.max() / 2 else "k")
    ax.set(xlabel="predicted", ylabel="true", title="confusion matrix")


def _text(text: str) -> str:
    """Return a text that matplotlib takes as it is: a dollar sign would begin a formula."""
    return (text if len(text) <= 60 else f"{text[:59]}…").replace("$", r"\$")


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise PackageMissing("drawing needs matplotlib: pip install 'perceptron-client[plot]'") from error
    return pyplot
