"""Predict with a job: its best network so far while it runs, then the version that it published."""

from dataclasses import asdict, dataclass

from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from storage.errors import NoNetworkError
from storage.models.trained_model import decode_best
from storage.models.versions import ModelReference
from storage.tenants import local


@dataclass(frozen=True, slots=True)
class JobReference:
    """The network of a job."""

    job: str


def find_network(reference: JobReference, models: LoadedModels) -> Found:
    """Return the network of a job.

    Raises:
        JobNotFoundError: there is no such job.
        NoNetworkError: it has no network yet, or ended without one.
    """
    job_id = reference.job
    try:
        with models.breaker.calling():
            best = models.jobs.best(job_id)
    except NoNetworkError:
        with models.breaker.calling():
            job = models.jobs.get(job_id)
        if job.version is None:
            raise
        found = models.get(ModelReference(job.model, job.version))
        return found._replace(members={"job": local(job_id), "provisional": False})
    members = {"job": local(job_id), "provisional": True, **asdict(best.figures)}
    return Found(LoadedModel(decode_best(best)), is_stale=False, members=members)
