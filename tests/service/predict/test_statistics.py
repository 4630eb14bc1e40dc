"""The statistics of the Open Inference Protocol keep the versions used last."""

from service.predict.memory.statistics import Statistics


def test_the_version_unused_for_longest_is_evicted() -> None:
    statistics = Statistics(max_versions=2)
    for version in (1, 2, 1, 3):
        statistics.succeeded("or", version, n_instances=1, times_ns=(0, 1, 2, 3))
    assert [statistics.of("or", version).n_successes for version in (1, 2, 3)] == [2, 0, 1]
