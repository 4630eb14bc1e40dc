"""The statistics of the Open Inference Protocol keep the versions used last."""

from service.predict.memory.statistics import Statistics


def test_the_version_unused_for_longest_is_evicted() -> None:
    statistics = Statistics(max_versions=2)
    for version in (1, 2, 1, 3):
        statistics.succeeded("or", version, n_instances=1, times_ns=(0, 0, 1, 2, 3))
    assert [statistics.of("or", version).n_successes for version in (1, 2, 3)] == [2, 0, 1]


def test_the_time_of_an_answer_is_the_sum_of_its_wait_for_a_thread_and_of_its_steps() -> None:
    statistics = Statistics()
    statistics.succeeded("or", 1, n_instances=1, times_ns=(100, 110, 130, 170, 250))
    counters = statistics.of("or", 1)
    assert (counters.queue_ns, counters.input_ns, counters.infer_ns, counters.output_ns) == (10, 20, 40, 80)
    assert counters.success_ns == 150
