"""What to do about an error of the service or of the way to it."""

import re

from perceptron_client import errors

MAX_FAULTS = 5

_OPTION_OF = re.compile(r"(?<!\S)/(target|exclude|features|types|alias|task|model)\b")

_REMEDIES: tuple[tuple[type[errors.PerceptronError], str], ...] = (
    (errors.JobNotFound, "'perceptron jobs' lists the jobs."),
    (errors.ModelNotFound, "'perceptron models' lists the models."),
    (errors.VersionNotFound, "'perceptron show MODEL' lists its versions and aliases."),
    (errors.AliasNotFound, "'perceptron show MODEL' lists its versions and aliases."),
    (errors.DatasetNotFound, "'perceptron datasets' lists the data sets."),
    (errors.VersionInUse, "'perceptron alias --help' says how."),
    (errors.DatasetInUse, "Wait for the job, or cancel it: perceptron jobs --status running."),
    (
        errors.Unauthenticated,
        "Set PERCEPTRON_API_KEY; whoever runs the service makes a key with 'perceptron keys create'.",
    ),
    (errors.Forbidden, "Whoever runs the service makes such a key with 'perceptron keys create --scope ...'."),
    (errors.Unavailable, "'perceptron doctor' looks for the reason."),
    (errors.ServerFault, "'perceptron doctor' looks for the reason; the log of the service has more."),
    (errors.UnexpectedAnswer, "Name the address of a Perceptron Service with --url."),
    (errors.ConnectionFailed, "'perceptron doctor' looks for the reason."),
    (errors.RequestTimedOut, "'perceptron doctor' looks for the reason."),
)


def explain_service_error(error: Exception) -> str:
    """Return one paragraph for an error of the client."""
    text = _described(error) if isinstance(error, errors.ApiError) else " ".join(str(error).split())
    remedy = next((remedy for kind, remedy in _REMEDIES if isinstance(error, kind)), "")
    return f"{text}{'' if text.endswith(('.', '?')) or not remedy else '.'} {remedy}".strip()


def _described(error: errors.ApiError) -> str:
    faults = [f"{fault.pointer}: {fault.detail}".removeprefix(": ") for fault in error.errors]
    text = error.detail
    if len(faults) > 1:
        text = "; ".join(faults[:MAX_FAULTS])
        if len(faults) > MAX_FAULTS:
            text += f"; and {len(faults) - MAX_FAULTS} more"
    if error.status >= 500 and error.request_id:
        text += f" (request {error.request_id})"
    return _OPTION_OF.sub(r"--\1", text)
