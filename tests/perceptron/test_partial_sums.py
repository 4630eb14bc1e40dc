"""What is summed over parts of a data set combines to what the whole gives, wherever the parts lie."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import Architecture, Dataset, Networks, Objective, Standardization
from perceptron.cost import MAX_BLOCK_ROWS, FoldScales, combine
from perceptron.data.dataset import WeightTotals
from perceptron.objective import BLOCKS_OF_FEW, Folds, Whole, fold_weight_sums
from perceptron.optimizers.curvature import InputSquares
from perceptron.preprocessing.standardization import Moments

RNG = np.random.default_rng(0)
N_ROWS, N_FEATURES, N_FOLDS = 1000, 4, 3
CUTS = [(0, 1), (1, 400), (400, N_ROWS)]  # the first part is a single row


def part_of(dataset, rows):
    weights = None if dataset.instance_weights is None else dataset.instance_weights[rows]
    return Dataset(dataset.features[rows], dataset.targets[rows], weights)


def test_the_sums_of_two_rows_by_hand():
    # y_hat = x + 1: 2 for y = 2 and 3 for y = 0, so the losses are 0 and 9 and dloss/dz is 0 and 6
    dataset = Dataset(np.array([[1.0], [2.0]]), np.array([[2.0], [0.0]]))
    objective = Objective(Architecture((1, 1), ("identity",)), dataset, loss="mean_squared_error")
    parameters, networks = np.ones((1, 2)), Networks.single()
    point = objective.kernel.at(parameters, networks)
    first, second = (objective.partial_sums(point, slice(k, k + 1)) for k in (0, 1))
    assert (second.n_rows, second.losses.tolist()) == (1, [[9.0]])
    assert [part.tolist() for part in second.layers[0]] == [[[12.0]], [6.0]]
    total = objective.kernel.finish(point, combine([first, second]))
    assert (total.costs.tolist(), total.gradients.tolist()) == ([4.5], [[6.0, 3.0]])
    assert second.losses.tolist() == [[9.0]]  # still


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("has_folds", [False, True])
@pytest.mark.parametrize(
    ("architecture", "loss"),
    [
        (Architecture((N_FEATURES, 1), ("sigmoid",)), "mean_squared_error"),
        (Architecture((N_FEATURES, 5, 3), ("tanh", "softmax")), "cross_entropy"),
    ],
)
def test_objectives_of_parts_sum_to_the_objective_of_the_whole(architecture, loss, has_folds, is_weighted, l2):
    n_outputs, n_networks = architecture.widths[-1], 6
    targets = np.eye(max(n_outputs, 2))[RNG.integers(0, max(n_outputs, 2), N_ROWS)][:, :n_outputs]
    weights = RNG.exponential(2.0, N_ROWS) if is_weighted else None
    dataset = Dataset(RNG.normal(size=(N_ROWS, N_FEATURES)), targets, weights)
    parameters = RNG.normal(size=(n_networks, architecture.n_parameters))
    scales = FoldScales(RNG.normal(size=(N_FOLDS, N_FEATURES)), RNG.uniform(0.5, 2, (N_FOLDS, N_FEATURES)))
    fold_of = RNG.integers(-1, N_FOLDS, N_ROWS)
    networks = Networks(np.full(n_networks, l2), np.arange(n_networks) % N_FOLDS if has_folds else None)

    def folds(rows):
        return Folds(fold_of[rows], scales) if has_folds else None

    expected = Objective(architecture, dataset, loss=loss, folds=folds(slice(None))).evaluate(parameters, networks)

    cuts = [slice(*cut) for cut in CUTS]
    parts = [part_of(dataset, rows) for rows in cuts]
    totals = reduce(WeightTotals.combine, (part.weight_totals() for part in parts))
    whole = Whole(totals)
    if has_folds:
        fold_sums = [fold_weight_sums(part, folds(rows), totals) for part, rows in zip(parts, cuts, strict=True)]
        whole = Whole(totals, sum(fold_sums))
    objectives = [
        Objective(architecture, part, loss=loss, folds=folds(rows), whole=whole)
        for part, rows in zip(parts, cuts, strict=True)
    ]
    kernel = objectives[0].kernel
    point = kernel.at(parameters, networks)
    actual = kernel.finish(point, combine([objective.partial_sums(point) for objective in objectives]))

    # to the rounding of a thousand terms in another order
    np.testing.assert_allclose(actual.costs, expected.costs, rtol=1e-13)
    np.testing.assert_allclose(actual.gradients, expected.gradients, rtol=1e-11, atol=1e-13)
    if has_folds:
        np.testing.assert_allclose(actual.held_out_costs, expected.held_out_costs, rtol=1e-13)
    else:
        assert actual.held_out_costs is None


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_bytes_of_the_parts_along_their_tree(n_threads):
    n_in_part, n_parts = BLOCKS_OF_FEW * MAX_BLOCK_ROWS, 7
    n_rows = n_parts * n_in_part
    dataset = Dataset(RNG.normal(size=(n_rows, 2)), RNG.random((n_rows, 1)))
    architecture = Architecture((2, 1), ("sigmoid",))
    parameters, networks = RNG.normal(size=(1, 3)), Networks.single()
    objective = Objective(architecture, dataset, loss="cross_entropy")
    point = objective.kernel.at(parameters, networks)
    firsts = range(0, n_rows, n_in_part)
    a, b, c, d, e, f, g = (objective.partial_sums(point, slice(first, first + n_in_part)) for first in firsts)
    by_hand = combine([combine([combine([a, b]), combine([c, d])]), combine([combine([e, f]), g])])
    by_parts = objective.kernel.finish(point, combine([a, b, c, d, e, f, g]))
    assert objective.kernel.finish(point, by_hand).gradients.tobytes() == by_parts.gradients.tobytes()
    threaded = Objective(architecture, dataset, loss="cross_entropy", n_threads=n_threads)
    by_threads = threaded.evaluate(parameters, networks)
    assert by_parts.gradients.tobytes() == by_threads.gradients.tobytes()
    assert by_parts.costs.tobytes() == by_threads.costs.tobytes()


def test_costs_alone_sum_without_gradients():
    dataset = Dataset(np.ones((4, 1)), np.zeros((4, 1)))
    objective = Objective(Architecture((1, 1), ("identity",)), dataset, loss="mean_squared_error")
    sums = objective.partial_sums(objective.kernel.at(np.ones((1, 2)), Networks.single()), with_gradients=False)
    assert (sums.n_rows, sums.losses.tolist(), sums.layers) == (4, [[16.0]], {})


def test_the_totals_of_weights_by_hand():
    left, right = (Dataset(np.ones((2, 1)), np.ones((2, 1)), np.array(weights)) for weights in ([1.0, 3.0], [8.0, 0.0]))
    totals = left.weight_totals().combine(right.weight_totals())
    assert totals == WeightTotals(4, 8.0, 1.5)
    # the mean is 3
    np.testing.assert_allclose(left.relative_weights(totals), [1 / 3, 1.0], rtol=1e-15)
    np.testing.assert_allclose(right.relative_weights(totals), [8 / 3, 0.0], rtol=1e-15)
    assert Dataset(np.ones((2, 1)), np.ones((2, 1))).weight_totals() == WeightTotals(2, 1.0, 2.0)


def test_the_moments_of_two_parts_by_hand():
    # 1, 3 and 8: mean 4, squared deviations 9 + 1 + 16; in units of 8
    moments = Moments.of(np.array([[1.0], [3.0]])).combine(Moments.of(np.array([[8.0]])))
    assert (moments.weight, moments.unit.tolist()) == (3, [8.0])
    np.testing.assert_allclose(moments.mean * 8, [4.0], rtol=1e-15)
    np.testing.assert_allclose(moments.squared_deviations * 64, [26.0], rtol=1e-15)


def test_a_feature_that_is_constant_in_all_parts_keeps_its_exact_mean_and_scale_1():
    parts = [np.full((n, 1), 0.1) for n in (3, 5, 1)]
    standardization = Standardization.by(reduce(Moments.combine, map(Moments.of, parts)))
    assert (standardization.mean.tolist(), standardization.scale.tolist()) == ([0.1], [1.0])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 50), min_size=2, max_size=5),
    scale=st.sampled_from([1e-200, 1.0, 1e200]),
    shift=st.floats(-3, 3),
)
def test_the_moments_of_parts_standardize_as_those_of_the_whole(seed, sizes, scale, shift):
    features = (np.random.default_rng(seed).normal(size=(sum(sizes), 2)) + shift) * scale
    parts = np.split(features, np.cumsum(sizes)[:-1])
    actual = Standardization.by(reduce(Moments.combine, map(Moments.of, parts)))
    expected = Standardization.of(features)
    np.testing.assert_allclose(actual.mean, expected.mean, rtol=1e-12, atol=1e-14 * scale)
    np.testing.assert_allclose(actual.scale, expected.scale, rtol=1e-12)


@pytest.mark.parametrize("max_size", [2048, 3])  # of the second only the trace is taken
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_input_squares_of_parts_have_the_eigenvalue_of_the_whole(is_weighted, max_size, monkeypatch):
    monkeypatch.setattr("perceptron.optimizers.curvature.MAX_EIGENVALUE_SIZE", max_size)
    weights = RNG.exponential(2.0, N_ROWS) if is_weighted else None
    features = RNG.normal(size=(N_ROWS, N_FEATURES)) * [1.0, 10.0, 1e3, 1e-3]
    dataset = Dataset(features, np.zeros((N_ROWS, 1)), weights)
    parts = [part_of(dataset, slice(*cut)) for cut in CUTS]
    totals = reduce(WeightTotals.combine, (part.weight_totals() for part in parts))
    combined = reduce(InputSquares.combine, (InputSquares.of(part, totals) for part in parts))
    expected = InputSquares.of(dataset).largest_eigenvalue()
    assert combined.largest_eigenvalue() == pytest.approx(expected, rel=1e-12)
