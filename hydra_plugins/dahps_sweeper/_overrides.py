"""Overrides: those of the command line, and those that each trial is composed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString, Transformer
from hydra.types import HydraContext
from omegaconf import DictConfig

from dahps_core.errors import ConfigurationError
from dahps_core.model.combination import Value, canonical
from dahps_core.space.overrides import to_overrides
from dahps_core.strategies.brackets import Resource
from hydra_plugins.dahps_sweeper._options import is_plain_sweep, plain_option


@dataclass(frozen=True)
class Argument:
    """What the command line says of one key.

    Attributes:
        is_sweep: Whether it lists several values, each for other trials.
        values: One, or those of the sweep.
        texts: How Hydra's basic sweeper would write each of them: with the quotes that they had.
        interval: Instead of values: the words of a node of the tree.
    """

    is_sweep: bool
    values: list[Any]
    texts: list[str]
    interval: Mapping[str, Any] | None = None


def read_arguments(
    options: DictConfig, arguments: Sequence[str], context: HydraContext
) -> dict[str, Argument]:
    """Map each key, with its prefix, to its last argument, in the order in which the keys came first.

    Args:
        options: `hydra.sweeper`, whose `params` come before the command line.
        arguments: The command line's overrides of the app's config.
        context: Hydra's context.

    Raises:
        ConfigurationError: A sweep cannot be enumerated.
    """
    params = [f"{key}={text}" for key, text in (plain_option(options, "params") or {}).items()]
    parser = OverridesParser.create(config_loader=context.config_loader)
    overrides = parser.parse_overrides([*params, *arguments])
    is_plain = is_plain_sweep(options)
    return {override.get_key_element(): _argument(override, is_plain=is_plain) for override in overrides}


def _argument(override: Override, *, is_plain: bool) -> Argument:
    if not override.is_sweep_override():
        return Argument(False, [_plain(override.value())], [override.get_value_element_as_str()])
    if override.is_interval_sweep():
        if is_plain:
            raise ConfigurationError(
                f"{override.input_line!r} sweeps over an interval, which has infinitely many values",
                hint="List the values, use range(start, stop, step), or make it a search: "
                "hydra.sweeper.strategy.name=random",
            )
        return Argument(True, [], [], _interval(override))
    elements = list(override.sweep_iterator())  # once: each time is another shuffle
    if not elements:
        raise ConfigurationError(f"{override.input_line!r} sweeps over nothing", hint="List a value at least")
    return Argument(True, [_plain(one) for one in elements], [Transformer.str(one) for one in elements])


def _interval(override: Override) -> dict[str, Any]:
    found = override.value()
    assert isinstance(found, IntervalSweep)
    if unknown := found.tags - {"log"}:
        raise ConfigurationError(
            f"{override.input_line!r} has the tag {min(unknown)}", hint="The only tag of an interval is log"
        )
    return {"interval": [found.start, found.end], "log": "log" in found.tags}


def _plain(value: Any) -> Any:
    """Return the parser's value without the quotes that it keeps."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(element) for key, element in value.items()}
    return value


@dataclass(frozen=True)
class TrialOverrides:
    """How the overrides of a trial are written; pickled into the workers' jobs.

    Attributes:
        texts: Key -> the canonical text of a value -> how the command line has it, where that is another way
            than ours. Folders are named after overrides, and people find them by what they have typed.
        resource_key: What carries a trial's resource; None: nothing does.
    """

    texts: Mapping[str, Mapping[str, str]]
    resource_key: str | None

    @classmethod
    def like(cls, arguments: Mapping[str, Argument], resource_key: str | None) -> TrialOverrides:
        """Make the overrides of trials whose space contains these arguments."""
        texts = {
            key: {
                canonical(value): text
                for value, text in zip(argument.values, argument.texts, strict=True)
                if to_overrides({key: value}) != [f"{key}={text}"]
            }
            for key, argument in arguments.items()
            if not key.startswith("~")  # the basic sweeper's `~key=null` deletes a null alone, in Hydra 1.4
        }
        return cls(texts, resource_key)

    def of(self, combination: Mapping[str, Value], resource: Resource | None) -> list[str]:
        """Return the overrides of one trial: its combination's, and the one with its resource."""
        if self.resource_key is not None and resource is not None:
            combination = {**combination, self.resource_key: resource}
        return [self._override(key, value) for key, value in combination.items()]

    def _override(self, key: str, value: Value) -> str:
        text = self.texts.get(key, {}).get(canonical(value))
        return to_overrides({key: value})[0] if text is None else f"{key}={text}"
