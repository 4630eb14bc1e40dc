"""The one predict: from the bytes of a request to the bytes of its answer, in every protocol, without a framework."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from perceptron import OutputNotFiniteError
from service.http.caller import Caller
from service.http.content_coding import decoded
from service.http.errors import ClientGoneError, Fault, OutputTooLargeError, answer_to
from service.http.parsing import check_n_instances, refuse
from service.http.room import LONG_STEPS, Room
from service.http.wire import Header, HttpAnswer, HttpRequest
from service.observe.access_log import AccessLog
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Rows, as_matrix
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.provisional import JobReference, find_network
from service.settings import Limits
from storage.models.versions import ModelReference
from storage.tenants import local

_STALE_HEADER: Header = (b"x-model-stale", b"true")

_MAX_STEPS_ON_LOOP = 1_000_000
"""About a millisecond."""

_MANY_OUTPUTS = 10_000
"""The memory of fewer is not counted."""

SERVER_TIMING = b"server-timing"
"""Every answer of the one predict has this header, and no other answer: so it tells what has been counted already."""

_NOTHING_HELD = ExitStack()

Given = TypeVar("Given", bound=Instances)


class WouldWaitError(Exception):
    """The answer takes a call of Redis, or much time, and the caller must not wait."""


@dataclass(slots=True)
class PredictRequest(Generic[Given]):
    """What a request asks for, as the reader of its protocol understands it."""

    reference: ModelReference | JobReference
    instances: Callable[[Inputs], Given]
    """Reads the instances, given what the version takes."""
    write: Callable[[Found, Given, Rows], HttpAnswer]
    """Writes the outputs as the client wants them."""
    is_slow: bool = False
    """Whether reading or writing would hold up the event loop."""
    is_counted: bool = False
    """Whether the statistics of the Open Inference Protocol count it."""
    add: Callable[[Found, Given], Found] | None = None
    """Adds members to the answer."""


Read: TypeAlias = Callable[[HttpRequest, LoadedModels, Limits], PredictRequest[Any]]
"""The reader of a protocol. Raises the errors of the request."""


def predict(
    read: Read, http: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True
) -> HttpAnswer:
    """Answer a request, with an error if it has one.

    Args:
        may_wait: False on the event loop.

    Raises:
        WouldWaitError: answering takes long, and `may_wait` is False.
    """
    complete_ns = http.complete_ns
    began_ns = perf_counter_ns() if may_wait else complete_ns  # a thread may have been waited for
    request = found = None
    n_rows = 0
    held = ExitStack() if may_wait else _NOTHING_HELD
    try:
        if may_wait and http.is_gone():
            raise ClientGoneError("the client has gone")
        if http.content_encoding:
            if not may_wait:
                raise WouldWaitError  # a few bytes may inflate to very many
            http = decoded(http, limits)
        request = read(http, models, limits)
        if request.is_slow and not may_wait:
            raise WouldWaitError
        reference = _owned(request.reference, http.caller)
        if isinstance(reference, JobReference):
            found = find_network(reference, models)
        else:
            found = models.get(reference) if may_wait else models.find(reference)
            if found is None or (found.model.reads_slowly and not may_wait):
                raise WouldWaitError
        instances = request.instances(found.model.inputs)
        if request.add is not None:
            found = request.add(found, instances)
        if (warnings := instances.warnings) is not None:
            found = found._replace(members={**found.members, "warnings": warnings.shown(instances.pointer)})
        read_ns = perf_counter_ns()
        if may_wait:
            _take_room(held, http.room, found, instances, limits)
        outputs = _forward(found.model, instances, limits, http, may_wait=may_wait)
        computed_ns = perf_counter_ns()
        n_rows = len(outputs)
        answer = request.write(found, instances, outputs)
        if found.is_stale:
            answer.headers += (_STALE_HEADER,)
        if warnings is not None:
            answer.headers += ((b"x-warnings", b"%d" % warnings.n),)
        if request.is_counted:
            trained, times_ns = found.model.trained, (complete_ns, began_ns, read_ns, computed_ns, perf_counter_ns())
            models.statistics.succeeded(trained.name, trained.version, n_instances=len(outputs), times_ns=times_ns)
    except WouldWaitError:
        raise
    except Exception as error:
        answer = answer_to(error, request_id=http.request_id)
        if request is not None and request.is_counted and found is not None:
            trained = found.model.trained
            models.statistics.failed(trained.name, trained.version, ns=perf_counter_ns() - complete_ns)
    finally:
        if may_wait:
            held.close()
    if found is None:
        model, version, is_stale, was_loaded = "", 0, False, False
    else:
        model, version = found.model.trained.name, found.model.trained.version
        is_stale, was_loaded = found.is_stale, found.was_loaded
    ns = models.traffic.predicted(http.rule, answer.status, model, version, n_rows, is_stale, was_loaded, complete_ns)
    if (access_log := models.traffic.access_log).is_due(answer.status, ns):
        _log_access(access_log, http, answer, ns, model)
    answer.headers += ((SERVER_TIMING, b"predict;dur=%.3f" % (1e-6 * ns)),)
    return answer


def _log_access(access_log: AccessLog, http: HttpRequest, answer: HttpAnswer, ns: int, model: str) -> None:
    access_log.write(
        method="POST",
        route=http.rule,
        status=answer.status,
        n_bytes=len(answer.body),
        ns=ns,
        remote=http.remote,
        request_id=http.request_id,
        key_id=http.caller.key_id,
        tenant=http.caller.tenant,
        model=local(model),
        is_sample=True,
    )


def _owned(reference: ModelReference | JobReference, caller: Caller) -> ModelReference | JobReference:
    """Return what a request refers to as `storage` knows it.

    Raises:
        JobNotFoundError, ModelNotFoundError: nothing has such an id or name.
    """
    if isinstance(reference, JobReference):
        return JobReference(caller.job(reference.job))
    name = caller.model(reference.model)
    return reference if name is reference.model else replace(reference, model=name)


def _take_room(held: ExitStack, room: Room | None, found: Found, given: Instances, limits: Limits) -> None:
    """Take the memory for all numbers of the answer and, if they take long to compute, one of the places for that.

    Raises:
        BodyTooLargeError, BusyError: there is too little.
    """
    model, n_instances = found.model, len(given.features)
    n_outputs = n_instances * model.n_outputs
    if room is None or n_outputs > limits.max_predict_outputs:  # which is refused later
        return
    if model.trained.task.is_list:
        n_outputs *= 2  # each is a prediction, too
    n_outputs += sum(np.size(each["outputs"]) for each in found.members.get("by_version", {}).values())
    n_outputs += np.size(found.members.get("contributions", ()))
    if n_outputs > _MANY_OUTPUTS:
        held.enter_context(room.for_outputs(n_outputs))
    held.enter_context(room.for_work(n_instances * model.n_steps_forward))


def with_version(found: Found, media_type: bytes, body: bytes) -> HttpAnswer:
    """Return an answer whose body does not name the version: a header does."""
    return HttpAnswer(200, media_type, body, ((b"x-model-version", b"%d" % found.model.trained.version),))


def check_n_outputs(n_instances: int, n_outputs_each: int, limits: Limits, pointer: str) -> None:
    """Refuse a request whose answer would hold too many numbers.

    Raises:
        InvalidRequestError: the answer would.
    """
    if n_instances * n_outputs_each > limits.max_predict_outputs:
        most = f"{limits.max_predict_outputs} outputs (MAX_PREDICT_OUTPUTS)"
        refuse(pointer, f"may give at most {most}, not {n_instances} instances x {n_outputs_each} outputs")


def check_n_steps(n_steps: int, limits: Limits, pointer: str, what: str) -> None:
    """Refuse a request that would compute for too long.

    Args:
        what: how the number of steps comes about.

    Raises:
        InvalidRequestError: it would.
    """
    if n_steps > limits.max_predict_steps:
        refuse(pointer, f"may take at most {limits.max_predict_steps} steps (MAX_PREDICT_STEPS), not {n_steps}: {what}")


def _forward(model: LoadedModel, instances: Instances, limits: Limits, http: HttpRequest, *, may_wait: bool) -> Rows:
    """Check the limits and return the outputs.

    Raises:
        InvalidRequestError: there are too many instances or outputs.
        OutputTooLargeError: an output is not finite.
        WouldWaitError: computing takes long, and the caller must not wait.
    """
    n_instances = len(instances.features)
    # Most readers have checked this before they took memory for the instances. Here it holds for all of them.
    check_n_instances(n_instances, instances.pointer_to_size, limits)
    check_n_outputs(n_instances, model.n_outputs, limits, instances.pointer_to_size)
    if not may_wait and n_instances * model.n_steps_each > _MAX_STEPS_ON_LOOP:
        raise WouldWaitError
    if may_wait:
        n_steps = n_instances * model.n_steps_forward
        check_n_steps(n_steps, limits, instances.pointer_to_size, "instances x (parameters + 20 x neurons)")
    first, parts = 0, []
    n_rows = max(LONG_STEPS // model.n_steps_forward, 1)
    try:
        if n_instances <= n_rows:
            return model.outputs(instances.features)
        for first in range(0, n_instances, n_rows):
            if http.is_gone():
                raise ClientGoneError("the client has gone")
            parts.append(as_matrix(model.outputs(instances.features[first : first + n_rows])))
        return np.concatenate(parts)
    except OutputNotFiniteError as error:
        index = first + error.index
        raise OutputTooLargeError([Fault(instances.pointer_to(index), str(OutputNotFiniteError(index)))]) from error
