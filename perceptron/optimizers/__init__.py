"""How a network is trained: one record for each optimizer, and the table of them.

To add one, write its module and put its record into `OPTIMIZERS`.
"""

from perceptron.optimizers import lbfgs, newton, perceptron_rule
from perceptron.optimizers.gradient import (
    AdamState,
    AdaptiveState,
    MomentumState,
    adam,
    by_rule,
    momentum,
    plain_or_adaptive,
)
from perceptron.optimizers.optimizer import Optimizer
from perceptron.optimizers.single_neuron import fast_loop

OPTIMIZERS: dict[str, Optimizer] = {
    "gradient_descent": Optimizer(plain_or_adaptive, states=(AdaptiveState,), fast_loop=fast_loop),
    "momentum": Optimizer(by_rule(momentum), states=(MomentumState,), n_arrays=20),
    "adam": Optimizer(by_rule(adam), states=(AdamState,), allows_auto=False, n_arrays=24),
    "lbfgs": Optimizer(
        lbfgs.training, states=(lbfgs.LbfgsState,), takes_batches=False, searches_step=True, n_arrays=80
    ),
    "newton": Optimizer(
        newton.training,
        states=(newton.NewtonState,),
        takes_batches=False,
        allows_hidden_layers=False,
        searches_step=True,
        uses_hessian=True,
        races=False,
    ),
    "perceptron_rule": Optimizer(
        perceptron_rule.training,
        states=(perceptron_rule.PerceptronRuleState,),
        follows_gradient=False,
        takes_batches=False,
        allows_hidden_layers=False,
        allows_auto=False,
        races=False,
    ),
}
"""By name; the first that can train an activation is its default. Read it when a name is used, never at import: a
record added later counts as well."""
