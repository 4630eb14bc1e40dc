import numpy as np
import pytest

from perceptron import (
    Dataset,
    DimensionError,
    DivergedError,
    InvalidConfigError,
    InvalidDatasetError,
    Layer,
    Network,
    NetworkConfig,
    TrainingConfig,
    fit,
    flatten,
    forward,
    resolve_training_config,
)

SIGMOID, IDENTITY = NetworkConfig("sigmoid"), NetworkConfig("identity")


def noisy_classes(n_instances=60, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_instances, 3))
    targets = (features @ [1.0, -2.0, 0.5] + rng.normal(size=n_instances) > 0).astype(float)
    return Dataset(features, targets[:, np.newaxis])


def test_one_step_moves_the_weights_against_the_gradient():
    # z = 0, y_hat = 0.5, dC/dw = 2 (0.5 - 1) * 0.25 * x = -0.25 x
    dataset = Dataset(features=np.array([[2.0, -1.0]]), targets=np.array([[1.0]]))
    first = next(fit(dataset, SIGMOID, TrainingConfig(learning_rate=0.5, initialization="zeros")))
    np.testing.assert_array_equal(first.network.layers[0].weights[:, 0], [0.25, -0.125])
    assert first.network.layers[0].bias[0] == 0.125


def test_the_cost_of_an_epoch_is_that_of_the_weights_after_it():
    # x = 1, y = 2, identity: w = b = 0, error 2, dC/dw = dC/db = -4, so w = b = 0.4 with alpha 0.1
    # y_hat = 0.8, cost 1.2^2; then dC/dw = -2.4, w = b = 0.64, y_hat = 1.28, cost 0.72^2
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    results = list(fit(dataset, IDENTITY, TrainingConfig(learning_rate=0.1, max_epochs=2)))
    assert [result.epoch for result in results] == [1, 2]
    assert results[0].cost == pytest.approx(1.44, rel=1e-14)
    assert results[1].cost == pytest.approx(0.5184, rel=1e-14)
    np.testing.assert_allclose(flatten(results[1].network), [0.64, 0.64], rtol=1e-14)


def test_only_the_last_result_has_a_stop_reason():
    results = list(fit(noisy_classes(), SIGMOID, TrainingConfig(max_epochs=7, tolerance=0.0)))
    assert [result.stop_reason for result in results] == [None] * 6 + ["max_epochs"]


def test_training_converges_when_the_cost_changes_by_less_than_the_tolerance():
    # Each step takes the error e of x = 1, y = 2 to 0.6 e: costs 4, 1.44, 0.5184, 0.186..., 0.067..., 0.024...
    # so that the changes are 2.56, 0.92, 0.33, 0.119..., 0.043...: the fourth is the first below 0.12.
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    results = list(fit(dataset, IDENTITY, TrainingConfig(learning_rate=0.1, tolerance=0.12)))
    assert (results[-1].epoch, results[-1].stop_reason) == (4, "converged")


def test_the_cost_at_the_start_is_the_previous_one_of_the_first_epoch():
    # the change of the first epoch is 4 - 1.44 = 2.56
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    (only,) = fit(dataset, IDENTITY, TrainingConfig(learning_rate=0.1, tolerance=2.57))
    assert (only.epoch, only.stop_reason) == (1, "converged")


def test_training_that_changes_nothing_never_converges_with_tolerance_0():
    dataset = Dataset(np.zeros((1, 1)), np.zeros((1, 1)))
    *_, last = fit(dataset, IDENTITY, TrainingConfig(tolerance=0.0, max_epochs=20))
    assert (last.epoch, last.stop_reason, last.cost) == (20, "max_epochs", 0.0)


def test_mini_batches_compare_the_cost_with_the_best_of_the_last_five_epochs():
    # Steps this long make the cost go up and down around its minimum: it never stays near the previous one.
    config = TrainingConfig(batch_size=7, tolerance=1e-4, learning_rate=2.0)
    results = list(fit(noisy_classes(), SIGMOID, config))
    assert results[-1].stop_reason == "converged"
    costs = [0.25] + [result.cost for result in results]  # zeros: y_hat = 0.5, (y - 0.5)^2 = 0.25
    gaps = [abs(min(costs[max(0, k - 5) : k]) - costs[k]) for k in range(1, len(costs))]
    assert gaps[-1] < 1e-4
    assert min(gaps[:-1]) >= 1e-4
    assert abs(costs[-2] - costs[-1]) >= 1e-4


def test_a_batch_of_the_whole_data_set_or_more_is_the_full_batch():
    dataset = noisy_classes(60)
    full = [result.cost for result in fit(dataset, SIGMOID, TrainingConfig(max_epochs=5))]
    for batch_size in (60, 1000):
        config = TrainingConfig(max_epochs=5, batch_size=batch_size)
        assert [result.cost for result in fit(dataset, SIGMOID, config)] == full


def test_an_epoch_of_mini_batches_visits_every_instance_once():
    # Instance k has the only feature k that is not 0, and identity: each visit moves w_k by 2 alpha (y - b) alone.
    # With y = 0 for the bias' sake and one instance left out or taken twice, some w_k would differ in size.
    dataset = Dataset(np.eye(6) * 1e6, np.full((6, 1), 1e-9))
    first = next(fit(dataset, IDENTITY, TrainingConfig(batch_size=1, learning_rate=1e-14)))
    np.testing.assert_allclose(first.network.layers[0].weights[:, 0], 2e-14 * 1e6 * 1e-9, rtol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "gradient_descent"},
        {"optimizer": "momentum", "batch_size": 8, "learning_rate": 0.05},
        {"optimizer": "adam", "batch_size": 8, "learning_rate": 0.05},
        {"optimizer": "lbfgs"},
        {"optimizer": "adam", "dtype": "float32", "learning_rate": 0.05},
    ],
)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(given):
    network = NetworkConfig("sigmoid", (4,))

    def train(seed):
        config = resolve_training_config(network, max_epochs=8, tolerance=0.0, seed=seed, **given)
        *_, last = fit(noisy_classes(), network, config)
        return flatten(last.network)

    np.testing.assert_array_equal(train(5), train(5))
    assert not np.array_equal(train(5), train(6))


def test_float32_trains_in_float32_and_comes_near_to_float64():
    results = {}
    for dtype in ("float32", "float64"):
        *_, last = fit(noisy_classes(), SIGMOID, TrainingConfig(dtype=dtype, max_epochs=50, tolerance=0.0))
        results[dtype] = flatten(last.network)
        assert results[dtype].dtype == np.dtype(dtype)
    np.testing.assert_allclose(results["float32"], results["float64"], rtol=1e-4)


def test_the_networks_that_were_yielded_stay_what_they_were():
    results = fit(noisy_classes(), SIGMOID, TrainingConfig(tolerance=0.0))
    first = next(results)
    before = flatten(first.network)
    next(results)
    np.testing.assert_array_equal(flatten(first.network), before)
    with pytest.raises(ValueError, match="read-only"):
        first.network.layers[0].weights[0, 0] = 1.0


def test_training_can_start_from_a_network():
    dataset, config = noisy_classes(), TrainingConfig(tolerance=0.0, max_epochs=10)
    whole = list(fit(dataset, SIGMOID, config))
    rest = list(fit(dataset, SIGMOID, config, start=whole[3].network))
    assert [result.cost for result in rest[:6]] == [result.cost for result in whole[4:]]


def test_the_cost_that_is_minimised_has_the_penalty_and_the_validation_cost_has_not():
    # zero features: w stays (1, 2); identity from b = 0 with y = 0 costs 0, the penalty 0.1 (1 + 4) shrinks w
    dataset = Dataset(np.zeros((2, 2)), np.zeros((2, 1)))
    start = Network((Layer(np.array([[1.0], [2.0]]), np.zeros(1), "identity"),))
    config = TrainingConfig(l2=0.1, learning_rate=0.5)
    first = next(fit(dataset, IDENTITY, config, validation=dataset, start=start))
    # w <- w - 0.5 * 2 * 0.1 * w = 0.9 w; cost 0.1 * 0.81 * 5
    np.testing.assert_allclose(first.network.layers[0].weights[:, 0], [0.9, 1.8], rtol=1e-15)
    assert first.cost == pytest.approx(0.405, rel=1e-14)
    assert first.validation_cost == 0.0


def test_early_stopping_waits_for_its_patience_and_gives_back_the_best_epoch():
    # Training pulls b towards 4 by b <- b - 0.1 * 2 (b - 4): 0.8, 1.44, 1.952, 2.3616, ...; the validation
    # target is 1.5, nearest at the second epoch.
    training, validation = (Dataset(np.zeros((1, 1)), np.array([[y]])) for y in (4.0, 1.5))
    config = TrainingConfig(learning_rate=0.1)
    results = list(fit(training, IDENTITY, config, validation=validation, early_stopping_patience=3))
    last = results[-1]
    assert (last.epoch, last.stop_reason) == (5, "early_stopping")
    assert last.best.epoch == 2
    assert last.best.network.layers[0].bias[0] == pytest.approx(1.44, rel=1e-14)
    assert last.best.validation_cost == pytest.approx(0.06**2, rel=1e-10)
    assert last.best.cost == results[1].cost
    assert [result.best.epoch for result in results] == [1, 2, 2, 2, 2]


def test_the_best_epoch_is_given_back_too_when_the_epochs_run_out_first():
    training, validation = (Dataset(np.zeros((1, 1)), np.array([[y]])) for y in (4.0, 1.5))
    config = TrainingConfig(learning_rate=0.1, max_epochs=4)
    *_, last = fit(training, IDENTITY, config, validation=validation, early_stopping_patience=3)
    assert (last.epoch, last.stop_reason, last.best.epoch) == (4, "max_epochs", 2)


def test_without_early_stopping_the_last_epoch_is_the_one_to_keep():
    training, validation = (Dataset(np.zeros((1, 1)), np.array([[y]])) for y in (4.0, 1.5))
    *_, last = fit(training, IDENTITY, TrainingConfig(learning_rate=0.1, max_epochs=4), validation=validation)
    assert last.best is last


def test_hidden_layers_learn_what_one_neuron_cannot():
    exclusive_or = Dataset(
        np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [1.0], [0.0]])
    )
    network = NetworkConfig("sigmoid", (8,))
    config = resolve_training_config(network, optimizer="lbfgs", loss="cross_entropy")
    *_, last = fit(exclusive_or, network, config)
    np.testing.assert_allclose(forward(last.network, exclusive_or.features), exclusive_or.targets, atol=0.01)


def test_a_learning_rate_that_is_too_large_is_an_error_that_says_so():
    # error e -> (1 - 2 * 10 * 2) e: after k epochs the cost is 39^(2k) * 4, above 1000 * 4 from the first on
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    # 1 / L, with L = 2 (x x + 1): a rate of 1/4 finds the optimum in one step
    with pytest.raises(DivergedError, match=r"by epoch 3.*set learning_rate to \"auto\", here 0.25") as caught:
        list(fit(dataset, IDENTITY, TrainingConfig(learning_rate=10.0)))
    assert (caught.value.epoch, caught.value.learning_rate) == (3, 10.0)
    assert "standardize" not in str(caught.value)  # it is set already


def test_a_training_that_diverges_on_raw_features_is_told_to_standardize():
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    with pytest.raises(DivergedError, match="set standardize to true"):
        list(fit(dataset, IDENTITY, TrainingConfig(learning_rate=10.0, standardize=False)))


def test_weights_that_are_infinite_are_an_error_even_at_a_finite_cost():
    # dC/dw = -0.25 * 100, so w = 25e308 = inf: the output is 1 and the cost 0
    dataset = Dataset(np.array([[100.0]]), np.array([[1.0]]))
    with pytest.raises(DivergedError, match="the weights are not finite after epoch 1"):
        list(fit(dataset, SIGMOID, TrainingConfig(learning_rate=1e308)))


def test_targets_whose_square_is_infinite_are_an_error_before_the_first_epoch():
    dataset = Dataset(np.array([[1.0]]), np.array([[1e200]]))
    with pytest.raises(DivergedError, match="before the first epoch") as caught:
        next(fit(dataset, IDENTITY, TrainingConfig()))
    assert caught.value.epoch == 0


def test_arguments_are_checked_before_the_first_epoch():
    dataset, wider = noisy_classes(), Dataset(np.ones((2, 4)), np.ones((2, 1)))
    with pytest.raises(InvalidConfigError, match="needs a validation set"):
        fit(dataset, SIGMOID, TrainingConfig(), early_stopping_patience=3)
    with pytest.raises(DimensionError, match="expected 3 features, got 4"):
        fit(dataset, SIGMOID, TrainingConfig(), validation=wider)
    with pytest.raises(InvalidDatasetError, match="expected validation targets with 1 values, got 2"):
        fit(dataset, SIGMOID, TrainingConfig(), validation=Dataset(np.ones((2, 3)), np.ones((2, 2))))
    with pytest.raises(InvalidConfigError, match="perceptron_rule"):
        fit(dataset, NetworkConfig("step"), TrainingConfig())
    with pytest.raises(InvalidConfigError, match="expected to start from"):
        start = Network((Layer(np.zeros((2, 1)), np.zeros(1), "sigmoid"),))
        fit(dataset, SIGMOID, TrainingConfig(), start=start)
    with pytest.raises(InvalidDatasetError, match="too large for float32"):
        fit(Dataset(np.array([[1e39]]), np.ones((1, 1))), SIGMOID, TrainingConfig(dtype="float32"))
    with pytest.raises(InvalidDatasetError, match="step has one output, got targets with 2"):
        two = Dataset(np.ones((2, 3)), np.ones((2, 2)))
        fit(two, NetworkConfig("step"), resolve_training_config(NetworkConfig("step")))


def test_training_leaves_the_warnings_of_its_caller_as_they_are():
    before = np.geterr()
    results = fit(noisy_classes(), SIGMOID, TrainingConfig())
    next(results)
    assert np.geterr() == before


def test_a_relu_output_learns_from_its_default_start():
    # y = 3 x for x in 1..4: from zeros the slope at z = 0 would be 0 for ever
    dataset = Dataset(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[3.0], [6.0], [9.0], [12.0]]))
    network = NetworkConfig("relu")
    config = resolve_training_config(network, learning_rate=0.03, max_epochs=2000, tolerance=0.0, seed=1)
    *_, last = fit(dataset, network, config)
    assert config.initialization == "he_normal"
    assert last.cost < 1e-6
