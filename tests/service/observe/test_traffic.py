"""What requests are counted with."""

from time import perf_counter_ns

from service.observe.metrics.traffic import Traffic


def ago(ms: float) -> int:
    return perf_counter_ns() - round(1e6 * ms)


def test_a_predict_falls_into_the_first_bucket_that_is_not_less_than_its_time() -> None:
    traffic = Traffic()
    for ms in (30, 60, 60, 20_000):  # (25 ms, 50 ms], (50 ms, 100 ms] twice, more than 10 s
        traffic.predicted("/predict", 200, "or", 3, 5, False, False, ago(ms))
    ((labels, tally),) = traffic.predicts().items()
    assert labels == ("/predict", 200, "or", 3)
    assert tally.buckets == [0] * 8 + [1, 2] + [0] * 6 + [1]
    assert (tally.n, tally.n_rows, tally.n_stale) == (4, 20, 0)
    assert 20_150_000_000 <= tally.sum_ns < 20_250_000_000


def test_versions_beyond_the_limit_are_counted_together_and_take_no_memory() -> None:
    traffic = Traffic(max_versions=2)
    for version in (1, 2, 3, 4, 1, 4):
        traffic.predicted("/predict", 200, "or", version, 1, version == 4, version == 1, ago(0))
    counts = {
        (labels.model, labels.version): (tally.n, tally.n_stale, tally.n_loaded)
        for labels, tally in traffic.predicts().items()
    }
    assert counts == {("or", 1): (2, 0, 2), ("or", 2): (1, 0, 0), ("other", -1): (3, 2, 0)}


def test_a_request_without_a_version_takes_none_of_their_places() -> None:
    traffic = Traffic(max_versions=1)
    traffic.predicted("/predict", 404, "", 0, 0, False, False, ago(0))
    traffic.predicted("/predict", 200, "or", 1, 1, False, False, ago(0))
    assert [labels[1:] for labels in traffic.predicts()] == [(404, "", 0), (200, "or", 1)]


def test_a_method_that_somebody_invents_is_other_and_a_request_that_waits_has_no_time() -> None:
    traffic = Traffic()
    traffic.answered("/jobs", "BREW", 405, 1_000_000)
    traffic.answered("/jobs/<job_id>", "GET", 200, None)
    counts = {labels: (sum(times.buckets), n) for labels, (times, n) in traffic.requests().items()}
    assert counts == {("/jobs", "other", 405): (1, 1), ("/jobs/<job_id>", "GET", 200): (0, 1)}
