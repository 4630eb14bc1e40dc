"""`perceptron jobs`, `job`, `logs`, `cancel`, `datasets`, `models`, `show` and `alias`."""

import json

from perceptron_client import Client
from tests.stack import Stack

from .conftest import LINE, ONE_STEP, TREES, Command

ENDLESS = {"optimizer": "gradient_descent", "learning_rate": 1e-6, "tolerance": 0, "max_epochs": 1_000_000}


def cells(text: str) -> list[dict[str, str]]:
    """Read a table as it is printed where nobody looks."""
    header, *rows = (line.split("\t") for line in text.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_jobs_are_listed_newest_first_as_tabs_and_as_json(
    perceptron: Command, client: Client, line: str, stack: Stack
) -> None:
    first, second = (client.jobs.create(model="listed", data=LINE, training=ONE_STEP) for _ in range(2))
    client.jobs.wait(first), client.jobs.wait(second)
    rows = cells(perceptron.good("jobs", "--model", "listed"))
    assert [row["job"] for row in rows] == [second.id, first.id]
    assert (rows[1]["status"], rows[1]["epochs"]) == ("succeeded", "1")
    listed = json.loads(perceptron.good("jobs", "--model", "listed", "--limit", "1", "--json"))
    assert listed == stack.http.get("/jobs", params={"model": "listed", "limit": 1}).json()
    ran = perceptron("jobs", "--model", "nobody")
    assert ran.stdout.count("\n") == 1  # a script finds the header
    assert "There is no such job" in ran.stderr


def test_the_events_of_a_job_are_told_and_followed_until_it_is_cancelled(perceptron: Command, client: Client) -> None:
    job = client.jobs.create(model="endless", data=LINE, training=ENDLESS)
    assert json.loads(perceptron.good("cancel", job.id, "--json"))["status"] == "cancelled"
    lines = perceptron.good("logs", "-f", job.id).splitlines()
    assert lines[0].split("\t")[1:] == ["status", "queued (submitted)"]
    assert lines[-1].split("\t")[2].startswith("cancelled (cancelled")
    events = json.loads(perceptron.good("logs", job.id, "--json"))["data"]
    followed = perceptron.good("logs", "-f", job.id, "--json").splitlines()
    assert events == [json.loads(each) for each in followed]
    ran = perceptron("job", job.id, "--watch")
    assert (ran.returncode, f"warning: {job.id} was cancelled\n" in ran.stderr) == (1, True)


def test_data_sets_are_uploaded_shown_and_deleted(perceptron: Command) -> None:
    ran = perceptron("datasets", "upload", "-", "--name", "woods.csv", "--types", "tall=categorical", stdin=TREES)
    columns = cells(ran.stdout)
    assert [(each["column"], each["type"], each["missing"]) for each in columns] == [
        ("height", "numeric", "5"),
        ("kind", "categorical", "0"),
        ("tall", "categorical", "5"),
        ("fruit", "categorical", "0"),
    ]
    dataset = next(word for word in ran.stderr.split() if word.startswith("ds_"))
    listed = cells(perceptron.good("datasets"))
    assert [each["name"] for each in listed if each["data_set"] == dataset] == ["woods.csv"]
    rows = cells(perceptron.good("datasets", "rows", dataset, "--limit", "3"))
    assert rows[2] == {"height": "", "kind": "oak", "tall": "", "fruit": "acorn"}
    refused = perceptron("datasets", "delete", dataset)
    assert refused.returncode == 2 and "Say --yes, as nobody can be asked here" in refused.stderr
    perceptron.good("datasets", "delete", dataset, "--yes")
    message = perceptron.error("datasets", "show", dataset)
    assert "there is no data set" in message and message.endswith("'perceptron datasets' lists the data sets.")


def test_models_versions_and_aliases_are_shown_moved_and_deleted(
    perceptron: Command, client: Client, stack: Stack
) -> None:
    for _ in range(2):
        client.jobs.wait(client.jobs.create(model="moved", data=LINE, training=ONE_STEP))
    assert (
        json.loads(perceptron.good("alias", "moved", "live", "1", "--json")) == stack.http.get("/models/moved").json()
    )
    versions = cells(perceptron.good("show", "moved"))
    assert [(each["version"], each["aliases"], each["metric"]) for each in versions] == [
        ("1", "live", "r2"),
        ("2", "", "r2"),
    ]
    shown = dict(each.split("\t") for each in perceptron.good("show", "moved@live").splitlines())
    assert (shown["version"], shown["reads"], shown["task"]) == ("1", "a, b", "regression")
    assert "alias 'live' points at version 1" in perceptron.error("models", "delete", "moved@1", "--yes")
    perceptron.good("alias", "moved", "live", "--delete")
    perceptron.good("models", "delete", "moved@1", "--yes")
    assert {each["model"]: each["versions"] for each in cells(perceptron.good("models"))}["moved"] == "1"
    perceptron.good("models", "delete", "moved", "--yes")
    assert perceptron.error("show", "moved") == "there is no model 'moved'. 'perceptron models' lists the models."
