"""Warm starts: the version whose weights a job begins with."""

from collections.abc import Sequence

from perceptron import Architecture, Task
from service.http.caller import Caller
from service.http.parsing import refuse
from service.jobs.payloads import TrainingRequest
from storage.jobs.spec import VersionReference
from storage.models.store import ModelStore


def version_to_start_from(
    request: TrainingRequest,
    caller: Caller,
    task: Task,
    feature_names: Sequence[str],
    shape: Architecture,
    models: ModelStore,
) -> VersionReference | None:
    """Return the version to start from, after checking that its features, classes and layers are those of this job.

    The features may be in another order: the worker takes their weights by name.
    """
    if request.start_from is None:
        return None
    if request.training.l2 == "auto":
        refuse("/start_from", 'start_from cannot be combined with l2 "auto"')
    if request.validation is not None and request.validation.folds is not None:
        refuse("/start_from", "start_from cannot be combined with folds")
    model = caller.model(request.start_from.model)
    number = models.resolve(model, version=request.start_from.version)
    start = models.load(model, number)
    version = f"version {number} of model {request.start_from.model!r}"
    for ours, theirs in ((feature_names, start.feature_names), (start.feature_names, feature_names)):
        known = set(theirs)
        if (name := next((name for name in ours if name not in known), None)) is not None:
            without, within = (version, "this job") if ours is feature_names else ("this job", version)
            refuse("/start_from", f"features are mapped by name, and {without} has no {name!r}, which {within} has")
    if start.task.classes != task.classes:
        shown, here = _shown(start.task), _shown(task)
        refuse("/start_from", f"{version} has {shown}, and this job has {here}")
    there = Architecture.of_network(start.network)
    if there != shape:
        detail = (
            f"{version} has layers of {there.widths} with {there.activations}, and this job asks for {shape.widths} "
            f"with {shape.activations}"
        )
        refuse("/start_from", detail)
    return VersionReference(request.start_from.model, number)


def _shown(task: Task) -> str:
    if task.classes is None:
        return "no classes"
    return f"the classes {', '.join(repr(each) for each in task.classes[:5])}{', ...' * (len(task.classes) > 5)}"
