import numpy as np
import pytest

from perceptron import (
    DimensionError,
    Layer,
    Network,
    OutputNotFiniteError,
    forward,
    predict_outputs,
    predict_side_by_side,
    predictions,
    resolve_task,
)


@pytest.mark.parametrize(
    ("targets", "given", "outputs", "expected"),
    [
        # the second class, or 1, when the output is >= 0.5
        ([0, 1], {}, [[0.49999], [0.5], [0.9]], [0, 1, 1]),
        ([0, 1], {"activation": "step"}, [[0.0], [1.0]], [0, 1]),
        (["yes", "no"], {}, [[0.1], [0.5]], ["no", "yes"]),
        # the class of the largest output, the first on a tie
        (["c", "a", "b"], {}, [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], ["b", "a"]),
        ([10, 20], {"task": "classification"}, [[0.4, 0.6]], [20]),
        # the value; the list
        ([0.1, 2.5], {}, [[1.25], [-3.0]], [1.25, -3.0]),
        ([0, 1], {"task": "regression"}, [[0.7]], [0.7]),
        ([[0.1], [2.5]], {}, [[1.25]], [1.25]),
        ([[0.1, 1.0]], {}, [[1.25, 2.0]], [[1.25, 2.0]]),
    ],
)
def test_predictions_are_what_the_outputs_stand_for(targets, given, outputs, expected):
    task, _ = resolve_task(targets, **given)
    result = predictions(task, np.array(outputs))
    assert result == expected
    # plain Python values, as JSON needs them
    assert [type(value) for value in result] == [type(value) for value in expected]


def neuron(*weights, bias=0.0, activation="identity"):
    return Network((Layer(np.array(weights)[:, np.newaxis], np.array([bias]), activation),))


def test_outputs_are_those_of_forward_propagation_for_any_number_of_rows():
    network = neuron(2.0, -1.0, bias=0.5, activation="sigmoid")
    features = np.random.default_rng(0).normal(size=(9000, 2))
    np.testing.assert_allclose(predict_outputs(network, features), forward(network, features), rtol=1e-14)


def test_no_instances_have_no_outputs():
    assert predict_outputs(neuron(1.0), np.empty((0, 1))).shape == (0, 1)


@pytest.mark.parametrize(("shape", "actual"), [((5, 3), 3), ((5, 1), 1), ((3,), 3)])
def test_the_wrong_number_of_features_is_an_error(shape, actual):
    with pytest.raises(DimensionError, match=f"expected 2 features, got {actual}") as caught:
        predict_outputs(neuron(1.0, 1.0), np.zeros(shape))
    assert (caught.value.expected, caught.value.actual) == (2, actual)


@pytest.mark.parametrize("activation", ["identity", "step", "sigmoid", "tanh", "relu"])
def test_an_output_that_is_not_finite_is_an_error_that_names_the_instance(activation):
    # two hidden outputs of 1e10 * 1e300 = inf each, and inf - inf is not a number
    hidden = Layer(np.array([[1e10, 1e10]]), np.zeros(2), "identity")
    output = Layer(np.array([[1.0], [-1.0]]), np.zeros(1), activation)
    with pytest.raises(OutputNotFiniteError, match="instance 2") as caught:
        predict_outputs(Network((hidden, output)), np.array([[0.0], [1.0], [1e300], [1e300]]))
    assert caught.value.index == 2


def test_networks_side_by_side_give_what_each_gives_alone():
    rng = np.random.default_rng(0)

    def layer(n_inputs, n_outputs, activation):
        return Layer(rng.normal(size=(n_inputs, n_outputs)), rng.normal(size=n_outputs), activation)

    networks = [
        Network((layer(3, 1, "sigmoid"),)),
        Network((layer(3, 4, "tanh"), layer(4, 2, "softmax"))),
        Network((layer(3, 2, "softmax"),)),
    ]
    features = rng.normal(size=(5, 3))
    for network, outputs in zip(networks, predict_side_by_side(networks, features), strict=True):
        np.testing.assert_allclose(outputs, predict_outputs(network, features), rtol=1e-13)
    with pytest.raises(DimensionError):
        predict_side_by_side([networks[0], Network((layer(2, 1, "sigmoid"),))], features)
    too_large = Network((Layer(np.full((3, 1), 10.0), np.zeros(1), "identity"),))
    with pytest.raises(OutputNotFiniteError):
        predict_side_by_side([networks[0], too_large], np.array([[0.0, 0.0, 1e308]]))
