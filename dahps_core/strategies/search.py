"""What a ledger is a ledger of."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from dahps_core.errors import ConfigurationError
from dahps_core.space import SearchSpace
from dahps_core.strategies import BY_LEVEL, IN_ORDER, STRATEGIES, WITH_LEVELS
from dahps_core.strategies.brackets import Brackets

DIRECTIONS = ("minimize", "maximize")

#: Python prints no longer numbers.
LARGEST_SEED_BITS = 13_000


@dataclass(frozen=True)
class Search:
    """A space and how it is searched.

    Attributes:
        space: The combinations.
        strategy: The order in which they are drawn: a name among `STRATEGIES`.
        direction: Which end of the metric is best: "minimize" or "maximize".
        metric: The objective's name, when trials return mappings.
        seed: Determines the order; None: drawn when the ledger is created, and kept in it.
        brackets: The levels of a strategy that has any: of one in `WITH_LEVELS`.
        is_uniform: Whether every combination is drawn alike though the strategy is in `BY_LEVEL`, as older
            versions did: their ledgers keep to it.

    Raises:
        ConfigurationError: The strategy or the direction is unknown, or brackets are missing or too much.
    """

    space: SearchSpace
    strategy: str = "random"
    direction: str = "minimize"
    metric: str | None = None
    seed: int | None = None
    brackets: Brackets | None = None
    is_uniform: bool = False

    @property
    def draws_by_level(self) -> bool:
        """Whether new trials are drawn level by level."""
        return self.strategy in BY_LEVEL and not self.is_uniform

    def __post_init__(self) -> None:
        expect_one_of("strategy.name", self.strategy, tuple(STRATEGIES))
        expect_one_of("direction", self.direction, DIRECTIONS)
        if (self.strategy in WITH_LEVELS) != (self.brackets is not None):
            has = "needs levels" if self.brackets is None else "has no levels"
            hint = "Only hyperband and asha have levels: of max_resource, or a list of them"
            raise ConfigurationError(f"{self.strategy} {has}", where="strategy.name", hint=hint)
        if self.strategy in IN_ORDER and self.space.has_intervals:
            raise ConfigurationError(
                f"{self.strategy} has no order for an interval without `points` or `step`",
                where="strategy.name",
                hint="Add points: 5 to each interval, or use strategy.name=random",
            )
        if self.seed is not None and self.seed.bit_length() > LARGEST_SEED_BITS:
            raise ConfigurationError("has too many digits", where="seed", hint="A few are as good")
        if not (self.metric or "").isprintable():
            raise ConfigurationError(f"{self.metric!r} is not a name", where="metric")

    def refuse_levels_of_repetitions(self) -> None:
        """Expect that no combination is repeated where trials are promoted by a single metric each.

        Raises:
            ConfigurationError: Lucky repetitions would be promoted, instead of the best combinations.
        """
        if self.brackets and self.space.repetitions > 1:
            raise ConfigurationError(
                f"{self.strategy} promotes single trials, and with {self.space.repetitions} repetitions the "
                "lucky ones instead of the best combinations",
                where="repetitions",
                hint="Remove repetitions, and repeat the best combinations in a second search; "
                "or use strategy.name=random",
            )

    def differences_of_settings(self, other: Search) -> list[str]:
        """Return how another search differs from this one, its space aside; an unset seed differs
        from none.
        """
        pairs = {
            "strategy.name": (self.strategy, other.strategy),
            "direction": (self.direction, other.direction),
            "metric": (self.metric, other.metric),
            "seed": (self.seed, self.seed if other.seed is None else other.seed),
        }
        if self.brackets and other.brackets and self.strategy == other.strategy:
            pairs |= self.brackets.differences(other.brackets)
        return [
            f"{name}: the ledger has {kept!r}, this command {given!r}"
            for name, (kept, given) in pairs.items()
            if kept != given
        ]


def expect_one_of(option: str, value: str, valid: tuple[str, ...]) -> None:
    """Expect that an option is one of the words that it can be; raises ConfigurationError."""
    if value not in valid:
        near = get_close_matches(str(value), valid, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Give one of {', '.join(valid)}"
        raise ConfigurationError(f"{value!r} is unknown", where=option, hint=hint)
