import numpy as np
import pytest

from perceptron import Architecture, Layer, Network, NetworkConfig, flatten, forward


def two_layers():
    hidden = Layer(np.array([[1.0, -1.0], [2.0, 0.0]]), np.array([0.0, 1.0]), "relu")
    output = Layer(np.array([[1.0], [10.0]]), np.array([0.5]), "identity")
    return Network((hidden, output))


def test_the_outputs_of_a_layer_are_the_inputs_of_the_next():
    # x = (1, 1): hidden z = (3, 0), relu (3, 0), output 3 + 0 + 0.5
    # x = (-2, 0): hidden z = (-2, 3), relu (0, 3), output 0 + 30 + 0.5
    outputs = forward(two_layers(), np.array([[1.0, 1.0], [-2.0, 0.0]]))
    np.testing.assert_array_equal(outputs, [[3.5], [30.5]])


def test_a_network_counts_its_inputs_outputs_and_parameters():
    network = two_layers()
    assert (network.n_inputs, network.n_outputs, network.n_parameters) == (2, 1, 2 * 2 + 2 + 2 + 1)


def test_forward_does_not_write_into_the_features():
    features = np.array([[1.0, 1.0]])
    forward(Network((Layer(np.eye(2), np.ones(2), "identity"),)), features)
    np.testing.assert_array_equal(features, [[1.0, 1.0]])


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"weights \(n_inputs, n_outputs\).*got \(2, 3\) and \(2,\)"):
        Layer(np.zeros((2, 3)), np.zeros(2), "tanh")
    with pytest.raises(ValueError, match="3 outputs is followed by one of 2 inputs"):
        Network((Layer(np.zeros((1, 3)), np.zeros(3), "tanh"), Layer(np.zeros((2, 1)), np.zeros(1), "identity")))
    with pytest.raises(ValueError, match="at least one layer"):
        Network(())


def test_a_network_survives_the_way_through_one_vector():
    network = two_layers()
    vector = flatten(network)
    np.testing.assert_array_equal(vector, [1, -1, 2, 0, 0, 1, 1, 10, 0.5])
    architecture = Architecture.of_network(network)
    assert architecture == Architecture((2, 2, 1), ("relu", "identity"))
    again = architecture.network(vector)
    for layer, same in zip(network.layers, again.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, same.weights)
        np.testing.assert_array_equal(layer.bias, same.bias)
        assert layer.activation == same.activation


def test_the_single_neuron_is_the_network_with_one_layer():
    architecture = Architecture.of(NetworkConfig("sigmoid"), n_inputs=3, n_outputs=1)
    assert architecture == Architecture((3, 1), ("sigmoid",))
    assert architecture.n_parameters == 4
