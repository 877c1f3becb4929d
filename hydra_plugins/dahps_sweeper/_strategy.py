"""The options of `hydra.sweeper.strategy`."""

from __future__ import annotations

from omegaconf import DictConfig

from dahps_core.errors import ConfigurationError
from dahps_core.ledger import Search
from dahps_core.space.keys import bare
from dahps_core.strategies import WITH_LEVELS
from dahps_core.strategies.brackets import Brackets
from hydra_plugins.dahps_sweeper._options import plain_option


def read_brackets(options: DictConfig, strategy: str) -> Brackets | None:
    """Return the brackets of the options, if the strategy of this name has any.

    Raises:
        ConfigurationError: An option is invalid, or only for strategies with rungs.
    """
    given = {name: value for name, value in plain_option(options, "strategy").items() if value is not None}
    for name in ("name", "stop", "stop_after"):  # of any strategy
        given.pop(name, None)
    if strategy not in WITH_LEVELS:
        for name in [*given, *(["max_resource_total"] if options.max_resource_total is not None else [])]:
            raise ConfigurationError(
                f"{strategy} has no levels",
                where=f"strategy.{name}" if name in given else name,
                hint=f"Use hydra/sweeper/strategy={WITH_LEVELS[0]}, or leave the option out",
            )
        return None
    given.pop("resource_key", None)
    if strategy == "asha" and given.setdefault("brackets", 1) != 1:
        raise ConfigurationError("asha has one bracket", where="strategy.brackets", hint="Use hyperband")
    try:
        return Brackets.of(**given)
    except ConfigurationError as error:
        raise ConfigurationError(error.what, where=f"strategy.{error.where}", hint=error.hint) from None


def read_resource_key(options: DictConfig, search: Search) -> str | None:
    """Return the key that the trial's resource is written to, which the search sets nowhere else.

    Raises:
        ConfigurationError: It does.
    """
    key: str | None = options.strategy.resource_key
    if key is not None and bare(key) in {bare(one) for _, one, _ in search.space.levels()}:
        raise ConfigurationError(
            f"{key} is set by the search space or the command line already",
            where="strategy.resource_key",
            hint="The strategy sets it: remove it there",
        )
    return key
