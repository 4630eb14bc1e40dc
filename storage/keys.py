"""Every Redis key that the project owns. RQ's own keys start with `rq:`.

What belongs to a tenant has keys that begin with `perceptron:t:<tenant>:`; what belongs to none has no such part. In
the code, such an id or name is `<tenant>/<id>`, as `storage.tenants` writes it.

An id or a name becomes part of a key only if it has the form of one: `<id>:events` would name another key. What has
another form is nothing that exists.
"""

import re

from storage.errors import AccessKeyNotFoundError, DatasetNotFoundError, JobNotFoundError, ModelNotFoundError
from storage.tenants import TENANT_PATTERN, local, tenant_of

JOB_ID_PATTERN = r"job_[0-9a-f]{32}"
"""Ids of jobs."""

DATASET_ID_PATTERN = r"ds_[0-9a-f]{32}"
"""Ids of data sets."""

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""Names of models and aliases."""

ACCESS_KEY_ID_PATTERN = r"[0-9a-f]{16}"
"""Ids of access keys."""

_OF_TENANT = rf"(?:{TENANT_PATTERN}/)?"

_is_access_key_id = re.compile(ACCESS_KEY_ID_PATTERN).fullmatch

_is_job_id = re.compile(_OF_TENANT + JOB_ID_PATTERN).fullmatch
_is_dataset_id = re.compile(_OF_TENANT + DATASET_ID_PATTERN).fullmatch
_is_name = re.compile(_OF_TENANT + NAME_PATTERN).fullmatch

TENANTS = "perceptron:tenants"
"""Set of the tenants that have or had a job or a data set."""

TURNS = "perceptron:turns"
"""Hash from tenant to the number of its last turn in the queue, and how many turns there were, as `#`."""


def jobs(tenant: str = "") -> str:
    """Sorted set of the ids of all jobs of a tenant by time of creation."""
    return f"{_prefix(tenant)}jobs"


def queue(tenant: str = "") -> str:
    """Sorted set of the ids of a tenant's jobs that wait for a worker, in their order, with the tenant in front.

    `take_entry.lua` puts them there, from RQ's list. Ids without a known tenant are in the one of none.
    """
    return f"{_prefix(tenant)}queue"


def models(tenant: str = "") -> str:
    """Sorted set of the names of a tenant's models with a version.

    Every score is 0, so they are in order of their names.
    """
    return f"{_prefix(tenant)}models"


def datasets(tenant: str = "") -> str:
    """Sorted set of the ids of all data sets of a tenant by time of creation."""
    return f"{_prefix(tenant)}datasets"


def dataset_bytes(tenant: str = "") -> str:
    """String with an expiry of an hour: how many bytes all data sets of a tenant have together.

    Only where that is limited. Where it is missing, the scripts count the data sets.
    """
    return f"{_prefix(tenant)}dataset-bytes"


def version_numbers(tenant: str = "") -> str:
    """Hash from model name to its highest version number ever. It outlives the model, so no number is used twice."""
    return f"{_prefix(tenant)}version-numbers"


def is_name(text: str) -> bool:
    """Whether the text has the form of a model's name."""
    return _is_name(text) is not None


def is_job_id(text: str) -> bool:
    """Whether the text has the form of a job's id."""
    return _is_job_id(text) is not None


def is_dataset_id(text: str) -> bool:
    """Whether the text has the form of a data set's id."""
    return _is_dataset_id(text) is not None


def is_access_key_id(text: str) -> bool:
    """Whether the text has the form of an access key's id."""
    return _is_access_key_id(text) is not None


def job_prefix(tenant: str = "") -> str:
    """What the key of each job of a tenant begins with, for a script that finds the ids of jobs."""
    return f"{_prefix(tenant)}job:"


def dataset_prefix(tenant: str = "") -> str:
    """What the key of each data set of a tenant begins with."""
    return f"{_prefix(tenant)}dataset:"


def _prefix(tenant: str) -> str:
    return f"perceptron:t:{tenant}:" if tenant else "perceptron:"


def job(job_id: str) -> str:
    """Hash: the record of one training job.

    Raises:
        JobNotFoundError: no job has such an id.
    """
    if not _is_job_id(job_id):
        raise JobNotFoundError(job_id)
    return f"{job_prefix(tenant_of(job_id))}{local(job_id)}"


def dataset(dataset_id: str) -> str:
    """Hash: the record of one data set.

    Raises:
        DatasetNotFoundError: no data set has such an id.
    """
    if not _is_dataset_id(dataset_id):
        raise DatasetNotFoundError(dataset_id)
    return f"{dataset_prefix(tenant_of(dataset_id))}{local(dataset_id)}"


def jobs_with_status(status: str, tenant: str = "") -> str:
    """Sorted set of the ids of a tenant's jobs in one state, by time of creation."""
    return f"{jobs(tenant)}:{status}"


def idempotency(digest: str, tenant: str = "") -> str:
    """Hash: the job that a tenant's request with this Idempotency-Key made, and the fingerprint of the request."""
    return f"{_prefix(tenant)}idempotency:{digest}"


def versions(model: str) -> str:
    """Sorted set of a model's version numbers."""
    return f"{_model(model)}:versions"


def aliases(model: str) -> str:
    """Hash from alias to version number."""
    return f"{_model(model)}:aliases"


def version(model: str, number: int | str) -> str:
    """Hash: the bytes and the description of one immutable version."""
    return f"{_model(model)}:version:{number}"


def _model(model: str) -> str:
    """Return the beginning of all keys of a model.

    Raises:
        ModelNotFoundError: no model has such a name.
    """
    if not _is_name(model):
        raise ModelNotFoundError(model)
    return f"{_prefix(tenant_of(model))}model:{local(model)}"


def digests(model: str) -> str:
    """Hash from version number to the digest of the version, as in `storage.models.versions.Version`."""
    return f"{_model(model)}:digests"


def events(job_id: str) -> str:
    """Stream: the events of a job, with times as ids. The scripts build the same name from the job's key."""
    return f"{job(job_id)}:events"


def best_network(job_id: str) -> str:
    """Hash: the best network so far of a job that is not done. The scripts build the same name from the job's key."""
    return f"{job(job_id)}:best"


CHANGES = "perceptron:changes"
"""Channel with the messages `job <id> <status>`, `model <name>` and `access <id>`, published by the step that changes
them, and `in-use`: there is a new entry in `VERSIONS_IN_USE`. Ids and names have their tenant in front."""

ACCESS_KEYS = "perceptron:access-keys"
"""Sorted set of the ids of all access keys, ended ones among them, by time of creation."""

ACCESS_KEYS_ENDED = "perceptron:access-keys-ended"
"""Sorted set of the ids of access keys that have ended, by the time of `SERVICE_CLOCK` at which housekeeping first saw
that."""

ACCESS_STATE = "perceptron:access-state"
"""String: a random text that each change of an access key replaces, so that processes see that there was one."""


def access_key(key_id: str) -> str:
    """Hash: the record of one access key.

    Raises:
        AccessKeyNotFoundError: no access key has such an id.
    """
    if not _is_access_key_id(key_id):
        raise AccessKeyNotFoundError(key_id)
    return f"perceptron:access-key:{key_id}"


def rate(name: str) -> str:
    """Hash with a short expiry: how many requests an access key or a tenant may send now."""
    return f"perceptron:rate:{name}"


VERSIONS_IN_USE = "perceptron:versions-in-use"
"""Stream of the versions that an API process has loaded for a request, the newest thousand or so."""

STORE_IDENTITY = "perceptron:store-identity"
"""String, set once: a random text that tells our Redis from an emptied or another one."""

STORE_IDENTITY_MARK = "store-identity"
"""Not a key, but the file beside the blobs that holds the same text."""

OLDER_STORE_IDENTITY = "perceptron:epoch"
"""Where releases before schema 1 keep the identity. Read once, where `STORE_IDENTITY` is missing."""

OLDER_STORE_IDENTITY_MARK = "epoch"
"""The file beside the blobs in which they keep it."""

SCHEMA = "perceptron:schema"
"""String: the schema of all that is in this Redis and the oldest release that reads it, as in `storage.schema`."""

STORE_IS_MARKED = "perceptron:store-is-marked"
"""String: 1 once a blob store has the mark; while its first mark is being written, 0 with a short expiry."""


def being_deleted(digest: str) -> str:
    """String with a short expiry: the blob with this sha256 is being deleted, so no job may refer to it."""
    return f"perceptron:being-deleted:{digest}"


WEBHOOK_OUTBOX = "perceptron:webhook-outbox"
"""Sorted set of the ids of all jobs whose end has to be told to a webhook, by the server's time at which that is tried
next, in ms. Ids are those of the code, with their tenant."""

WEBHOOKS_DUE = "perceptron:webhooks-due"
"""Sorted set of the same ids, by the server's time in ms at which the next attempt became or becomes due. Unlike the
score in the outbox, it stays when a job is taken or put off, so it tells how late an attempt is."""

RECONCILER_LEASE = "perceptron:reconciler"
"""String with a short expiry: the reconciler of the worker that it names looks after stalled jobs."""

SERVICE_CLOCK = "perceptron:clock"
"""Hash: a time that follows the server's clock in small steps, so that a leap of that clock makes nothing old."""

COUNTERS = "perceptron:counters"
"""Hash: how often each thing has happened to jobs, for metrics. The scripts add to it in the step that it counts."""


def ended(tenant: str = "") -> str:
    """Sorted set of the ids of a tenant's jobs that are done.

    By the time of `SERVICE_CLOCK` at which housekeeping first saw that.
    """
    return f"{_prefix(tenant)}ended"
