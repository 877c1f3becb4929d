"""One trial of a search, run alone: with the values and the configs that it had, and recorded nowhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.utils import run_job
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from dahps_core.errors import ConfigurationError, DahpsError
from dahps_core.ledger import Ledger
from dahps_core.ledger.folder.configs import kept_sources
from dahps_core.ledger.folder.run_commands import RunCommand, command_of
from dahps_core.space.overrides import to_overrides
from dahps_core.trial.current import Trial, alone, evaluating
from dahps_core.trial.host import Host
from hydra_plugins.dahps_sweeper._frozen import FrozenConfigLoader
from hydra_plugins.dahps_sweeper._overrides import TrialOverrides, read_arguments
from hydra_plugins.dahps_sweeper._program import Program
from hydra_plugins.dahps_sweeper._run_only import put_aside

_LEDGER, _TRIAL = "hydra.sweeper.ledger", "hydra.sweeper.run_alone"


def command_of_process(ledger: Path, cwd: str, resource_key: str | None, **kept: Any) -> RunCommand:
    """Return the command line of this process, such that it runs one trial of its ledger alone.

    Args:
        ledger: The ledger's folder.
        cwd: The folder that the command was given in.
        resource_key: The override that passes a trial its resource; None if none does.
        kept: What `RunCommand` has of the configs.
    """
    arguments = sys.argv[1:]
    program = sys.orig_argv[: len(sys.orig_argv) - len(arguments)]
    words = [word for word in arguments if word.partition("=")[0] not in (_LEDGER, "hydra.sweeper.dry_run")]
    place = _end_of_overrides(words)
    before = [*program, *words[:place], *to_overrides({_LEDGER: str(ledger)})]
    return RunCommand(before, _TRIAL, words[place:], cwd, resource_key, **kept)


def _end_of_overrides(words: Sequence[str]) -> int:
    """Return where a further override can be added: Hydra's parser requires them in one piece."""
    overrides = get_args_parser().parse_known_args(words)[0].overrides
    if not overrides:
        return len(words)
    return len(words) - [*words][::-1].index(overrides[-1])


def run_alone(
    context: HydraContext, config: DictConfig, task_function: TaskFunction, arguments: list[str]
) -> Any:
    """Evaluate the trial that `hydra.sweeper.run_alone` names, in this process; record nothing.

    The values and the repetition are the ledger's, and the configs those that the trial was made of, whatever
    has become of their files. It writes to Hydra's folder of a run, and starts without a checkpoint: so its
    resource is all that it had at its level and below.

    Returns:
        What the task function has returned.
    """
    try:
        program = Program.of_this_process(task_function, config, arguments)
        trial, command = _trial_of(config.hydra.sweeper)
        loader = FrozenConfigLoader(context.config_loader, config)
        arguments = put_aside(config, arguments, context, loader.repository, set(trial.combination))
        loader.repository.take(_sources(config.hydra.sweeper.ledger, command, trial))
        given = read_arguments(config.hydra.sweeper, arguments, context)
        overrides = TrialOverrides.like(given, command.resource_key)
        resource = trial.resource if command.resource_key else None
        config = loader.load_sweep_config(config, overrides.of(trial.combination, resource))
    except DahpsError as error:
        raise CompactHydraException(str(error)) from error
    with open_dict(config.hydra):
        config.hydra.job.num, config.hydra.job.id = trial.number, str(trial.number)

    def evaluate(config: DictConfig) -> Any:
        with evaluating(alone(trial)):
            return task_function(config)

    host = Host(trial, None, partial(program.described, config, loader))
    with host, host.serving(), evaluating(trial):
        return run_job(
            hydra_context=replace(context, config_loader=loader),
            task_function=evaluate,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        ).return_value


def _trial_of(options: DictConfig) -> tuple[Trial, RunCommand]:
    """Return the trial as it was in its last attempt, and how its multirun was started."""
    number = options.run_alone
    if options.ledger is None:
        raise ConfigurationError(
            "no ledger is named", where=_TRIAL, hint=f"Name the trial's: {_LEDGER}=FOLDER"
        )
    with Ledger.open(options.ledger) as ledger:
        records, attempts = ledger.trials_among([number]), ledger.attempts(number)
        command = command_of(ledger.folder, attempts[-1].run) if attempts else None
        if not records or command is None:
            what = "has not run, or its command is unknown" if records else "was never drawn"
            raise ConfigurationError(f"trial {number} {what}", where=str(ledger.folder))
        record, brackets = records[0], ledger.search.brackets
    resource = brackets.levels[record.level] if brackets else None
    trial = Trial(
        number, record.attempts, record.repetition, record.combination, Path(), record.level, resource
    )
    return trial, command


def _sources(folder: str, command: RunCommand, trial: Trial) -> Any:
    sources = kept_sources(Path(folder), command.sources)
    if sources is None:
        raise ConfigurationError(
            f"the configs of trial {trial.number} were not kept",
            where=folder,
            hint="Run the app by hand, with the overrides that `dahps show` prints",
        )
    return sources
