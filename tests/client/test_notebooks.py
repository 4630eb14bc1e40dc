"""Answers as notebooks show them: escaped HTML, drawings, and a real notebook."""

import io
import json

import matplotlib
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from playwright.sync_api import sync_playwright

from perceptron_client import Client, Job
from perceptron_client.errors import InvalidArgument
from tests.end_to_end.test_documentation import CHROMIUM, QUIET
from tests.stack import ROOT, Stack

from .conftest import LINE, ONE_STEP

matplotlib.use("Agg")

EVIL = "<img src=x onerror=\"document.title='hacked'\">"
SCRIPT = "</td></table><script>document.title='hacked'</script>"


def html_of_everything(client: Client) -> str:
    """The HTML of every kind of answer, with markup wherever the service lets it through."""
    rows = [{EVIL: k, "kind": SCRIPT if k % 2 else "oak", "y": EVIL if k % 2 else "no"} for k in range(8)]
    dataset = client.datasets.upload(rows, name=SCRIPT)
    job = client.jobs.wait(client.jobs.create(model="evil", dataset=dataset, target="y", alias="live"))
    failed = Job.of({**job.raw, "status": "failed", "result": None, "error": {"code": EVIL, "detail": SCRIPT}})
    prediction = client.predict("evil", [{EVIL: 1, "kind": SCRIPT}, {EVIL: 1, "kind": EVIL}])
    answers = [dataset, next(client.datasets.list()), job, failed, prediction]
    answers += [client.models.get("evil"), next(client.models.list()), client.models.version("evil", "live")]
    return "".join(answer._repr_html_() for answer in answers)


def test_markup_in_names_is_shown_and_not_run(client: Client):
    html = html_of_everything(client)
    assert "<img" not in html and "<script" not in html and html.count("&lt;img") >= 5 and "&lt;script" in html


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_runs_nothing_of_it(client: Client):
    html = html_of_everything(client)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.set_content(f"<title>untouched</title>{html}")
        page.wait_for_timeout(200)
        assert page.title() == "untouched"
        assert page.locator("img, script").count() == 0
        assert EVIL in page.inner_text("body") and "</td></table><script>" in page.inner_text("body")
        assert page.locator("table").count() >= 10
        browser.close()


def test_a_learning_curve_is_the_jobs_events(client: Client):
    training = {"optimizer": "gradient_descent", "learning_rate": 0.01, "max_epochs": 50, "tolerance": 0}
    job = client.jobs.wait(client.jobs.create(model="curve", data=LINE, training=training))
    axes = job.plot()
    points = [event.data for event in client.jobs.events(job.id) if event.type == "epoch"]
    (costs, *_) = axes.get_lines()
    np.testing.assert_array_equal(costs.get_xdata(), [point["epoch"] for point in points])
    np.testing.assert_array_equal(costs.get_ydata(), [point["cost"] for point in points])
    assert job.plot(events=[], ax=axes) is axes
    matplotlib.pyplot.close(axes.figure)
    with pytest.raises(InvalidArgument, match="give the events"):
        Job.of(job.raw).plot()


def test_a_version_is_drawn_by_feature_with_its_confusion_matrix(client: Client):
    # A dollar sign begins a formula in matplotlib, and this one is none.
    names = ["plain", r"$\frac{$", "third"]
    features = np.random.default_rng(0).normal(size=(60, 3))
    data = {
        "features": features,
        "targets": ["yes" if x > 0 else "$no$" for x in features[:, 0]],
        "feature_names": names,
    }
    client.jobs.wait(client.jobs.create(model="drawn", data=data))
    version = client.models.version("drawn")
    figure = version.plot()
    weights, confusion = figure.axes[:2]
    shown = dict(zip((label.get_text() for label in weights.get_yticklabels()), weights.patches, strict=True))
    assert shown["plain"].get_width() == version.weights[0][0, 0]
    counts = [text.get_text() for text in confusion.texts]
    assert counts == [str(n) for row in version.metrics["confusion_matrix"] for n in row]
    figure.savefig(io.BytesIO())
    matplotlib.pyplot.close(figure)


CELLS = (
    "import numpy as np\nfrom perceptron_client import Client\nclient = Client({url!r})",
    "job = client.jobs.create(model='book', data=([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1]))\n"
    "job = client.jobs.wait(job, progress=True)\njob",
    "client.predict('book', [[0, 1]])",
    "job.plot();",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_shows_the_job_the_prediction_and_the_drawing(stack: Stack):
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.replace("{url!r}", repr(stack.url))) for cell in CELLS]
    )
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [json.dumps(cell.outputs) for cell in book.cells]
    assert "book (succeeded): 100%" in outputs[1] and "<strong>Job</strong>" in outputs[1]
    assert "<strong>Prediction</strong>" in outputs[2]
    assert '"image/png"' in outputs[3]


def test_one_step_is_drawn_as_a_point(client: Client):
    job = client.jobs.wait(client.jobs.create(model="point", data=LINE, training=ONE_STEP))
    axes = job.plot()
    assert axes.get_lines()[0].get_marker() == "."
    matplotlib.pyplot.close(axes.figure)
