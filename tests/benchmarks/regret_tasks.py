"""Tasks whose best combination is known, with levels of resource: what strategies are compared on.

Nothing here needs more than Python itself, so that other programs' environments can run it as well.
"""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

#: Of each network of the digits example, the accuracy after each epoch.
DIGITS = Path(__file__).parents[2] / ".benchmarks" / "digits" / "accuracies.json"

Config = dict[str, float]


@dataclass(frozen=True)
class Task:
    """A task to be minimized.

    Attributes:
        values: Key -> what it can be.
        levels: Of resource.
        budget: So many evaluations at the highest level can be paid for.
        observed: What an evaluation returns: (config, resource, chance) -> metric.
        regret: How far a config is from the best one, at the highest level and without noise.
    """

    name: str
    values: dict[str, list[float]]
    levels: tuple[int, ...]
    budget: int
    observed: Callable[[Config, int, random.Random], float]
    regret: Callable[[Config], float]


def counting_ones(n: int) -> Task:
    """So many categories and so many probabilities: as many ones as can be (S. Falkner et al., ICML 2018).

    A probability is seen through as many throws of a coin as there is resource; it has eleven levels here.
    """
    values: dict[str, list[float]] = {f"category{i}": [0, 1] for i in range(n)}
    values |= {f"probability{i}": [j / 10 for j in range(11)] for i in range(n)}

    def observed(config: Config, resource: int, chance: random.Random) -> float:
        ones = sum(value for key, value in config.items() if key.startswith("category"))
        for key, value in config.items():
            if key.startswith("probability"):
                # The mean of so many throws, by its normal approximation.
                seen = chance.gauss(value, math.sqrt(value * (1 - value) / resource))
                ones += min(max(seen, 0.0), 1.0)
        return -ones / (2 * n)

    def regret(config: Config) -> float:
        return 1 - sum(config.values()) / (2 * n)

    return Task(f"counting ones {n}+{n}", values, (9, 27, 81, 243, 729), 100, observed, regret)


_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = {
    3: ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35)),
    6: (
        (10, 3, 17, 3.5, 1.7, 8),
        (0.05, 10, 17, 0.1, 8, 14),
        (3, 3.5, 1.7, 10, 17, 8),
        (17, 8, 0.05, 10, 0.1, 14),
    ),
}
_P = {
    3: ((3689, 1170, 2673), (4699, 4387, 7470), (1091, 8732, 5547), (381, 5743, 8828)),
    6: (
        (1312, 1696, 5569, 124, 8283, 5886),
        (2329, 4135, 8307, 3736, 1004, 9991),
        (2348, 1451, 3522, 2883, 3047, 6650),
        (4047, 8828, 8732, 5743, 1091, 381),
    ),
}


def mf_hartmann(n: int) -> Task:
    """Hartmann's function of 3 or 6 dimensions, biased and noisy where there is little resource.

    K. Kandasamy et al., "Multi-fidelity Bayesian Optimisation with Continuous Approximations", ICML 2017; on
    a grid of 21 or seven values a dimension.
    """
    levels = (1, 3, 9, 27, 81)
    grid = [i / 20 for i in range(21)] if n == 3 else [i / 6 for i in range(7)]
    values = {f"x{i}": grid for i in range(n)}

    def value(config: tuple[float, ...], fidelity: float) -> float:
        total = 0.0
        for alpha, a, p in zip(_ALPHA, _A[n], _P[n], strict=True):
            inner = sum(ai * (xi - pi / 10_000) ** 2 for ai, xi, pi in zip(a, config, p, strict=True))
            total -= (alpha - 0.1 * (1 - fidelity)) * math.exp(-inner)
        return total

    best = min(value(config, 1.0) for config in product(grid, repeat=n))

    def observed(config: Config, resource: int, chance: random.Random) -> float:
        fidelity = resource / levels[-1]
        return value(tuple(config.values()), fidelity) + chance.gauss(0.0, 0.1 * (1 - fidelity))

    def regret(config: Config) -> float:
        return value(tuple(config.values()), 1.0) - best

    return Task(f"MFHartmann {n}", values, levels, 100, observed, regret)


def digits(curves: list[list[float]]) -> Task:
    """The example's residual networks, by the table of their accuracies that `regret_digits.py` makes.

    There are 64 of them: the budget is so large that random search evaluates half.
    """
    # In the order of the tree; of each image size, the two crops.
    values = {
        "depth": [1, 2],
        "width": [8, 16],
        "image_size": [12, 16],
        "crop": [0, 1],
        "lr": [0.001, 0.003],
        "batch_size": [32, 128],
    }
    table = dict(zip(product(*values.values()), curves, strict=True))
    best = max(curve[-1] for curve in curves)

    def observed(config: Config, resource: int, chance: random.Random) -> float:
        return 1 - table[tuple(config.values())][resource - 1]

    def regret(config: Config) -> float:
        return best - table[tuple(config.values())][-1]

    return Task("digits", values, (1, 3, 9), 32, observed, regret)


@cache
def tasks() -> tuple[Task, ...]:
    """All of them."""
    counting, hartmann = (counting_ones(4), counting_ones(16)), (mf_hartmann(3), mf_hartmann(6))
    return *counting, *hartmann, digits(json.loads(DIGITS.read_text()))
