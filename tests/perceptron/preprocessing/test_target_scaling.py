import numpy as np
import pytest

from perceptron import (
    Architecture,
    Candidate,
    Dataset,
    NetworkConfig,
    TargetScaling,
    TrainingConfig,
    assign_folds,
    fit_sweep,
    fold,
    forward,
    resolve_task,
)


def test_the_targets_get_mean_0_and_deviation_1_by_hand():
    # 1, 2, 2, 7 with weights 1, 1, 1, 1: mean 3, deviation sqrt((4 + 1 + 1 + 16) / 4)
    targets = np.array([[1.0], [2.0], [7.0]])
    scaling = TargetScaling.of(targets, np.array([1.0, 2.0, 1.0]), is_used=True)
    assert (scaling.mean.tolist(), scaling.cost_unit) == ([3.0], pytest.approx(5.5, rel=1e-15))
    np.testing.assert_allclose(scaling.apply(targets) * np.sqrt(5.5), targets - 3.0, rtol=1e-15)


def test_outputs_of_different_scales_have_no_common_unit_of_cost():
    assert TargetScaling.of(np.array([[1.0, 10.0], [3.0, 30.0]]), None, is_used=True).cost_unit == 1.0
    assert TargetScaling.of(np.array([[1.0, 5.0], [5.0, 9.0]]), None, is_used=True).cost_unit == 4.0


def test_folding_gives_raw_targets_and_unfolding_undoes_it():
    network = Architecture((2, 3, 2), ("tanh", "identity")).network(np.random.default_rng(0).normal(size=17))
    scaling = TargetScaling(np.array([100.0, -5.0]), np.array([7.0, 0.5]))
    features = np.random.default_rng(1).normal(size=(5, 2))
    raw = scaling.fold(network)
    np.testing.assert_allclose(forward(raw, features), forward(network, features) * [7.0, 0.5] + [100.0, -5.0])
    np.testing.assert_allclose(forward(scaling.unfold(raw), features), forward(network, features), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
@pytest.mark.parametrize("has_folds", [False, True])
@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_a_sweep_gives_the_same_networks_and_costs_whatever_the_unit_of_the_targets(unit, has_folds, optimizer):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 3))
    targets = features @ [[1.0], [-2.0], [0.5]] + 30.0 + rng.normal(size=(40, 1))
    task, _ = resolve_task(targets[:, 0].tolist())
    config = TrainingConfig(optimizer=optimizer, scale_targets=True)

    def swept(targets):
        dataset = Dataset(features, targets)
        fold_of = assign_folds(dataset, task, 4, 0) if has_folds else None
        *_, last = fit_sweep(dataset, NetworkConfig("identity"), config, [Candidate(0.5, 0.01, 0)], fold_of=fold_of)
        return last.trained()

    for one, other in zip(swept(targets * unit), swept(targets), strict=True):
        assert one.cost == pytest.approx(other.cost * unit**2, rel=1e-9)
        outputs, expected = (forward(fold(it.network, it.standardization), features) for it in (one, other))
        np.testing.assert_allclose(outputs, expected * unit, rtol=1e-9)
