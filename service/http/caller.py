"""Who sends a request, and what he may do. No Flask, no Redis."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from storage.errors import DatasetNotFoundError, JobNotFoundError, ModelNotFoundError
from storage.tenants import owned

Scope: TypeAlias = Literal["read", "predict", "train", "admin"]

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    key_id: str | None
    """The public id of the access key; None where access is off."""
    tenant: str
    """Whose jobs, models and data sets are seen; empty: those that belong to no tenant."""
    scopes: frozenset[Scope]

    def job(self, job_id: str) -> str:
        """Return the id of a job as `storage` knows it, from one in a request.

        Raises:
            JobNotFoundError: no job has such an id.
        """
        if "/" in job_id:  # another tenant's
            raise JobNotFoundError(job_id)
        return owned(self.tenant, job_id)

    def model(self, name: str) -> str:
        """Return the name of a model as `storage` knows it, from one in a request.

        Raises:
            ModelNotFoundError: no model has such a name.
        """
        if "/" in name:
            raise ModelNotFoundError(name)
        return owned(self.tenant, name)

    def dataset(self, dataset_id: str) -> str:
        """Return the id of a data set as `storage` knows it, from one in a request.

        Raises:
            DatasetNotFoundError: no data set has such an id.
        """
        if "/" in dataset_id:
            raise DatasetNotFoundError(dataset_id)
        return owned(self.tenant, dataset_id)


ANYONE = Caller(None, "", SCOPES)
"""Who sends a request while access is off."""
