"""What to say when a training diverges: what would have worked, and is not set already."""

from dataclasses import dataclass, replace

from perceptron.architecture import NetworkConfig
from perceptron.config import TrainingConfig
from perceptron.course import constant_cost
from perceptron.data.dataset import Dataset
from perceptron.errors import DivergedError, PerceptronError
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import auto_learning_rate


@dataclass(frozen=True, eq=False)
class Advice:
    """Knows a training, and makes the error that ends it."""

    dataset: Dataset
    network_config: NetworkConfig
    config: TrainingConfig
    """with a number as learning rate"""

    @property
    def constant_cost(self) -> float:
        """C_null of the data set; infinite for an optimizer that minimises no cost, which cannot diverge."""
        if not OPTIMIZERS[self.config.optimizer].follows_gradient:
            return float("inf")
        return constant_cost(
            self.dataset.targets,
            self.dataset.cost_weights,
            loss=self.config.loss,
            activation=self.network_config.activation,
        )

    def error(self, epoch: int, cost: float) -> DivergedError:
        """Make the error for a training that diverged in an epoch with this cost."""
        learning_rate = self.config.known_learning_rate
        return DivergedError(epoch, learning_rate, cost=cost, advice=self._text(epoch, learning_rate))

    def _text(self, epoch: int, learning_rate: float) -> str:
        parts = [] if self.config.standardize else ["set standardize to true"]
        if epoch == 0:
            parts.insert(0, "scale them")
        elif OPTIMIZERS[self.config.optimizer].searches_step:
            parts.append("scale the features and targets")
        else:
            rate = self._rate_that_works()
            if rate is not None and rate < learning_rate:
                parts.append(f'set learning_rate to "auto", here {rate:.3g}, instead of {learning_rate!r}')
            else:
                parts.append(f"lower learning_rate, now {learning_rate!r}")
            parts.append("leave out optimizer and learning_rate to have them chosen from the data")
        return ", or ".join(parts)

    def _rate_that_works(self) -> float | None:
        config = replace(self.config, optimizer="gradient_descent", batch_size=None)
        try:
            return auto_learning_rate(self.dataset, self.network_config, config)
        except PerceptronError:
            return None
