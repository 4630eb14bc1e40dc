"""`perceptron webhook-secret`."""

import base64
import hashlib
import hmac
import json

from tests.cli.conftest import Command
from tests.receiver import SECRET

MASTER = b"no secret, only for tests"
OF_ACME = hmac.new(MASTER, b"perceptron webhook secret of tenant acme", hashlib.sha256).digest()


def test_each_tenant_has_the_secret_that_its_name_gives(alone: Command) -> None:
    assert base64.b64decode(SECRET.removeprefix("whsec_")) == MASTER
    alone.env["WEBHOOK_SECRET"] = SECRET
    assert alone.good("webhook-secret", "--tenant", "acme") == f"whsec_{base64.b64encode(OF_ACME).decode()}\n"
    assert json.loads(alone.good("webhook-secret", "--tenant", "bolt", "--json"))["tenant"] == "bolt"
    assert len({alone.good("webhook-secret", "--tenant", name) for name in ("acme", "bolt", "acme-2")}) == 3
    assert alone.good("webhook-secret") == f"{SECRET}\n"


def test_of_two_secrets_the_new_one_is_printed(alone: Command) -> None:
    alone.env["WEBHOOK_SECRET"] = SECRET
    before = alone.good("webhook-secret", "--tenant", "acme")
    alone.env["WEBHOOK_SECRET"] = f"{SECRET} whsec_dGhlIG9sZCBzZWNyZXQsIG9ubHkgZm9yIHRlc3Rz"
    ran = alone("webhook-secret", "--tenant", "acme")
    assert ran.stdout == before and "this is of the first" in ran.stderr


def test_what_is_wrong_is_named_and_no_secret_is_quoted(alone: Command) -> None:
    ran = alone("webhook-secret", "--tenant", "acme")
    assert (ran.returncode, ran.stdout) == (2, "") and "WEBHOOK_SECRET is missing" in ran.stderr
    alone.env["WEBHOOK_SECRET"] = "hunter2"
    ran = alone("webhook-secret", "--tenant", "acme")
    assert ran.returncode == 2 and "must be whsec_" in ran.stderr and "hunter2" not in ran.stderr
    alone.env["WEBHOOK_SECRET"] = SECRET
    ran = alone("webhook-secret", "--tenant", "Acme/x")
    assert ran.returncode == 2 and "is no name of a tenant" in ran.stderr
