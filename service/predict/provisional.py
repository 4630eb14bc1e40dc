"""Predict with a job: the best network so far while it runs, the version that it published after that."""

from dataclasses import asdict
from typing import Any

from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from storage.errors import NoNetworkError
from storage.models.trained_model import decode_best


def of_job(job_id: str, models: LoadedModels) -> tuple[Found, dict[str, Any]]:
    """Return what stands for a job, and the members that say what it is.

    Raises:
        JobNotFoundError: there is no such job.
        NoNetworkError: it has no network yet, or ended without one.
    """
    try:
        best = models.jobs.best(job_id)
    except NoNetworkError:
        job = models.jobs.get(job_id)
        if job.version is None:
            raise
        return models.get(job.model, version=job.version), {"job": job_id, "provisional": False}
    network = LoadedModel(decode_best(best))
    return Found(network, is_stale=False), {"job": job_id, "provisional": True, **asdict(best.figures)}
