"""`client.jobs` against the running service."""

import io
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from perceptron_client import Client, Job, JobCancelled, JobFailed, JobNotDone
from perceptron_client.errors import (
    IdempotencyKeyReused,
    Invalid,
    InvalidArgument,
    InvalidRequest,
    JobAlreadyDone,
    JobNotFound,
    UnexpectedAnswer,
)
from perceptron_client.server_sent import EventReader
from tests.stack import ROOT, Stack

from .conftest import LINE, ONE_STEP, TREES

OR = ([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1])
LONG = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 1_000_000}


def test_a_job_is_trained_from_arrays_and_its_answer_is_typed(client: Client):
    job = client.jobs.create(model="typed", data=LINE, training=ONE_STEP, metadata={"owner": "growth"})
    assert (job.model, job.done, job.metadata) == ("typed", False, {"owner": "growth"})
    done = client.jobs.wait(job)
    assert (done.id, done.status, done.version) == (job.id, "succeeded", 1)
    # outputs 0.2 and 0.52 for the targets 2 and 4: ((1.8)^2 + (3.48)^2) / 2
    assert done.result.cost == pytest.approx((1.8**2 + 3.48**2) / 2)
    assert (datetime.now(UTC) - done.finished_at).total_seconds() < 60
    assert done.config["training"]["learning_rate"] == done.raw["config"]["training"]["learning_rate"] == 0.01
    assert client.jobs.get(job.id) == done
    with pytest.raises(AttributeError):
        done.status = "failed"


def test_a_webhook_is_named_by_its_url_and_shown_with_how_far_it_has_come(client: Client):
    with pytest.raises(InvalidRequest) as caught:
        client.jobs.create(model="told", data=OR, webhook="https://hooks.example.com/")
    assert caught.value.errors[0].pointer == "/webhook/url"  # the service of the tests has no secret
    assert "WEBHOOK_SECRET" in str(caught.value)
    raw = client.jobs.create(model="told", data=OR).raw
    assert Job.of(raw).webhook is None
    shown = {"url": "https://h.example/", "delivered_at": "2026-11-26T01:05:09.422Z", "attempts": 2, "last_error": "x"}
    webhook = Job.of({**raw, "webhook": shown}).webhook
    assert (webhook.url, webhook.attempts, webhook.last_error) == ("https://h.example/", 2, "x")
    assert webhook.delivered_at == datetime(2026, 11, 26, 1, 5, 9, 422_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "data",
    [
        OR,
        {"features": np.array(OR[0]), "targets": np.array(OR[1])},
        (pd.DataFrame(OR[0], columns=["a", "b"]), pd.Series(OR[1])),
        (pl.DataFrame(OR[0], schema=["a", "b"], orient="row"), pl.Series(OR[1])),
    ],
    ids=["lists", "arrays", "pandas", "polars"],
)
def test_features_and_targets_come_as_lists_arrays_and_data_frames(client: Client, data):
    dry = client.jobs.dry_run(model="or", data=data)
    assert (dry.config["n_instances"], dry.n_features, dry.n_parameters) == (4, 2, 3)
    assert dry.feature_names == (("a", "b") if isinstance(data, tuple) and data is not OR else ("x0", "x1"))


@pytest.mark.parametrize("kind", [list, pd.DataFrame, pl.DataFrame, lambda rows: {"records": rows}])
def test_records_come_as_dicts_and_data_frames_with_gaps(client: Client, kind):
    rows = [*TREES, {"height": None, "kind": None, "fruit": 2.0}]
    dry = client.jobs.dry_run(model="trees", data=kind(rows), target="fruit")
    assert set(dry.feature_names) == {"height", "height:missing", "kind=fir", "kind=oak", "kind=<missing>"}


def test_data_that_is_no_table_is_refused_before_anything_is_sent():
    with Client("http://127.0.0.1:9", retry_for_s=0) as client, pytest.raises(InvalidArgument, match="not int"):
        client.jobs.create(model="or", data=3)


def test_an_error_names_every_field_and_the_limit_as_the_service_said_it(client: Client):
    with pytest.raises(InvalidRequest) as caught:
        client.jobs.create(model="or", data=OR, training={"learning_rate": -1, "max_epochs": 0})
    assert isinstance(caught.value, Invalid)
    assert [fault.pointer for fault in caught.value.errors] == ["/training/learning_rate", "/training/max_epochs"]
    assert str(caught.value) == (
        "invalid_request (422): 2 faults\n"
        "  /training/learning_rate: Input should be greater than 0\n"
        "  /training/max_epochs: Input should be greater than or equal to 1"
    )


def test_the_same_key_makes_one_job_and_another_body_is_refused(client: Client):
    first = client.jobs.create(model="once", data=OR, idempotency_key="k1")
    assert client.jobs.create(model="once", data=OR, idempotency_key="k1").id == first.id
    assert client.jobs.create(model="once", data=OR).id != first.id
    with pytest.raises(IdempotencyKeyReused):
        client.jobs.create(model="another", data=OR, idempotency_key="k1")


def test_list_walks_over_all_pages(client: Client, monkeypatch):
    monkeypatch.setattr("perceptron_client._sync.http.PAGE", 2)
    made = [client.jobs.create(model="pages", data=OR).id for _ in range(5)]
    client.jobs.wait(made[-1])
    assert [job.id for job in client.jobs.list(model="pages")] == made[::-1]
    assert [job.id for job in client.jobs.list(model="pages", status="succeeded")] == made[::-1]


def test_events_come_live_until_the_job_is_done(client: Client):
    job = client.jobs.create(model="live", data=OR)
    events = list(client.jobs.events(job.id))
    reasons = [event.data["reason"] for event in events if event.type == "status"]
    assert reasons == ["submitted", "claimed", "published"]
    assert [event.ends_the_job for event in events].count(True) == 1
    assert list(client.jobs.events(job.id, follow=False)) == events
    assert list(client.jobs.events(job.id, after=events[-2].id)) == events[-1:]
    assert list(client.jobs.events(job.id, after=events[-1].id)) == []


def test_events_are_read_whatever_the_pieces_they_come_in():
    stream = (
        'retry: 1000\n\n: still here\n\nid: 1-0\r\ndata: {"message":"a\u2028b\x85c"}\r\n\r\ndata: {"n":\ndata: 2}\n\n'
    )
    expected = [{"message": "a\u2028b\x85c"}, {"n": 2}]
    for size in (1, 7, len(stream)):
        reader = EventReader()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [event for piece in pieces for event in reader.feed(piece)] == expected
    with pytest.raises(UnexpectedAnswer, match="no JSON object"):
        list(EventReader().feed("data: [1]\n\n"))


def test_a_running_job_is_watched_and_cancelled(client: Client):
    job = client.jobs.create(model="long", data=OR, training=LONG)
    with pytest.raises(JobNotDone, match="it goes on") as late:
        client.jobs.wait(job, timeout_s=0.5)
    assert isinstance(late.value, TimeoutError)
    seen = next(event for event in client.jobs.events(job.id) if event.type == "epoch")
    assert seen.data["epoch"] >= 1
    assert client.jobs.cancel(job.id).status == client.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(JobCancelled) as cancelled:
        client.jobs.wait(job.id)
    assert cancelled.value.job.id == job.id


def test_a_job_that_fails_says_why(client: Client):
    job = client.jobs.create(model="bad", data=LINE, training={"optimizer": "gradient_descent", "learning_rate": 1e3})
    with pytest.raises(JobFailed, match=r"diverged: .+") as failed:
        client.jobs.wait(job)
    assert (failed.value.code, failed.value.job.error.code) == ("diverged", "diverged")
    with pytest.raises(JobAlreadyDone):
        client.jobs.cancel(job.id)
    with pytest.raises(JobNotFound):
        client.jobs.get("job_of_nobody")


def test_progress_is_a_bar_with_epoch_and_cost_or_lines_without_tqdm(client: Client, capsys, monkeypatch):
    client.jobs.wait(client.jobs.create(model="bar", data=LINE, training=ONE_STEP), progress=True)
    bar = capsys.readouterr().err
    assert "bar (succeeded): 100%|" in bar and "| 1/1 epochs, cost 7.675" in bar
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    client.jobs.wait(client.jobs.create(model="bar", data=LINE, training=ONE_STEP), progress=True)
    assert capsys.readouterr().err.splitlines()[-1] == "bar: succeeded, epoch 1, cost 7.675"


WAITING = """
import sys
from perceptron_client import Client, JobCancelled
with Client(sys.argv[1]) as client:
    print("waiting", flush=True)
    try:
        client.jobs.wait(sys.argv[2])
    except JobCancelled as error:
        print(error, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("answer", "outcome"), [("y", "was cancelled"), ("n", "interrupted")])
def test_ctrl_c_on_a_terminal_asks_whether_the_job_shall_be_cancelled(client: Client, stack: Stack, answer, outcome):
    job = client.jobs.create(model="asked", data=OR, training=LONG)
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, stack.url, job.id], cwd=ROOT, stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    shown = read_until(terminal, "waiting")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    shown += read_until(terminal, "[y/N]")
    os.write(terminal, f"{answer}\n".encode())
    shown += read_until(terminal, outcome)
    assert process.wait(10) == 0
    os.close(terminal)
    assert client.jobs.get(job.id).done is (answer == "y")
    if answer == "n":
        assert f'client.jobs.wait("{job.id}")' in shown
        client.jobs.cancel(job.id)


def test_ctrl_c_where_nobody_can_answer_says_how_to_come_back(client: Client, stack: Stack, tmp_path: Path):
    job = client.jobs.create(model="asked", data=OR, training=LONG)
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, stack.url, job.id],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert output == f'{job.id} goes on. To come back to it: client.jobs.wait("{job.id}")\ninterrupted\n'
    assert client.jobs.cancel(job.id).status == "cancelled"


def read_until(terminal: int, text: str) -> str:
    shown = io.BytesIO()
    deadline = time.monotonic() + 20
    while text not in shown.getvalue().decode(errors="replace"):
        assert time.monotonic() < deadline, shown.getvalue()
        shown.write(os.read(terminal, 4096))
    return shown.getvalue().decode(errors="replace")
