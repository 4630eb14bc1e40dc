"""What a person sees on a real terminal: tables, colours, bars, questions, and Ctrl-C."""

import re

from perceptron_client import Client

from .conftest import LINE, ONE_STEP, Command
from .test_jobs_and_models import ENDLESS
from .test_train import PLANES

GREEN, RED, BOLD, RESET = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


def test_a_table_is_aligned_and_coloured_and_obeys_no_color(perceptron: Command, client: Client, line: str) -> None:
    for env, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with perceptron.on_terminal("jobs", "--model", line, **env) as terminal:
            assert terminal.finish() == 0
        assert (f"{GREEN}succeeded{RESET}" in terminal.text) == is_coloured
        assert ("\x1b" in terminal.text) == is_coloured
        header, row = re.sub(r"\x1b\[\d+m", "", terminal.text).splitlines()
        assert header.index("Status") == row.index("succeeded")
        assert header.index("Model") == row.index(line)


def test_a_training_shows_a_bar_then_the_metrics_and_the_next_command(perceptron: Command) -> None:
    with perceptron.on_terminal("train", PLANES, "--target", "seats", "--no-color") as terminal:
        assert terminal.finish() == 0
    assert re.search(r"planes \(succeeded\): 100%\|.*\| \d+/\d+ epochs, cost ", terminal.text)
    assert re.search(r"\nr2 +0\.\d+\n", terminal.text)
    assert "perceptron predict planes" in terminal.text


def test_ctrl_c_leaves_the_job_running_and_says_how_to_return(perceptron: Command, client: Client) -> None:
    job = client.jobs.create(model="interrupted", data=LINE, training=ENDLESS)
    with perceptron.on_terminal("job", job.id, "--watch") as terminal:
        terminal.wait_for(r"interrupted \((queued|running)\)")
        terminal.type("\x03")
        assert terminal.finish() == 130
    assert f"{job.id} goes on. To come back to it: perceptron job {job.id} --watch" in terminal.text
    assert "Traceback" not in terminal.text
    assert client.jobs.get(job.id).status in ("queued", "running")
    client.jobs.cancel(job.id)


def test_what_cannot_be_undone_is_asked_for(perceptron: Command, client: Client) -> None:
    client.jobs.wait(client.jobs.create(model="asked", data=LINE, training=ONE_STEP))
    for answer, status in (("n\n", 1), ("y\n", 0)):
        with perceptron.on_terminal("models", "delete", "asked") as terminal:
            terminal.wait_for(r"Delete the model asked with 1 version\? \[y/N\]")
            terminal.type(answer)
            assert terminal.finish() == status
    assert "asked is deleted." in terminal.text


def test_names_cannot_move_the_cursor(perceptron: Command, client: Client) -> None:
    table = client.datasets.upload(b"a\x1b[2J,b\n1,2\n2,3\n", media_type="text/csv", name="evil\x1b]0;x\x07\n.csv")
    with perceptron.on_terminal("datasets", "show", table.id, "--no-color") as terminal:
        terminal.finish()
    assert "\x1b" not in terminal.text and "\x07" not in terminal.text
    with perceptron.on_terminal("datasets", "rows", table.id, "--no-color") as rows:
        rows.finish()
    assert "\x1b" not in rows.text and "a\\x1b[2J" in rows.text
    with perceptron.on_terminal("datasets", "delete", table.id, "--no-color") as delete:
        delete.wait_for("y/N")
        delete.type("n\n")
        delete.finish()
    assert "\x1b" not in delete.text and "\x07" not in delete.text
    assert "evil\\x1b]0;x\\x07\\n.csv" in terminal.text and "a\\x1b[2J" in terminal.text


def test_predict_asks_for_rows_instead_of_waiting_for_a_person_to_type(perceptron: Command, line: str) -> None:
    with perceptron.on_terminal("predict", line) as terminal:
        assert terminal.finish() == 2
    assert "name a file of rows, or send one to standard input" in terminal.text
