"""A ledger as a storage of Optuna that is only read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from copy import deepcopy as copied
from pathlib import Path
from typing import Any, NoReturn

from dahps_core.dashboard.trials import Trials
from dahps_core.errors import LedgerError, from_extra
from dahps_core.ledger import Ledger

with from_extra("dashboard"):
    from optuna.storages import BaseStorage
    from optuna.study import StudyDirection
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial, TrialState

_STUDY_ID = 0


class LedgerStorage(BaseStorage):
    """A ledger as one study, which bears the name of its folder.

    `optuna.load_study(study_name=None, storage=LedgerStorage(path))` gives a study for Optuna's plots and
    data frames; each question reads what the ledger holds then. Trials that will run again are WAITING; a
    trial that finished without a number is FAIL, since Optuna takes none. Where the strategy has levels, a
    trial has the metric of its last one.

    Args:
        folder: The ledger's, read while its workers run.

    Raises:
        ConfigurationError: Optuna is not installed.
        LedgerError: As `Ledger.open`; and whatever would write.
    """

    def __init__(self, folder: Path | str) -> None:
        self._ledger = Ledger.open(folder)
        self._trials = Trials(self._ledger)

    @property
    def _name(self) -> str:
        return self._ledger.folder.resolve().name

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name != self._name:
            raise KeyError(f"the ledger's study is {self._name!r}")
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        _check_study(study_id)
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        _check_study(study_id)
        return [StudyDirection[self._ledger.search.direction.upper()]]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        _check_study(study_id)
        search = self._ledger.search
        attributes = {
            "ledger": str(self._ledger.folder),
            "strategy": search.strategy,
            "seed": str(search.seed),
        }
        return attributes | ({"metric": search.metric} if search.metric else {})

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        _check_study(study_id)
        metric = self._ledger.search.metric
        return {"study:metric_names": [metric]} if metric else {}

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=self._name,
                direction=None,
                directions=self.get_study_directions(_STUDY_ID),
                user_attrs=self.get_study_user_attrs(_STUDY_ID),
                system_attrs=self.get_study_system_attrs(_STUDY_ID),
                study_id=_STUDY_ID,
            )
        ]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trials = self._trials.now()
        if not 0 <= trial_id < len(trials):
            raise KeyError(f"the ledger has no trial {trial_id}")
        return copied(trials[trial_id])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        _check_study(study_id)
        trials = [trial for trial in self._trials.now() if states is None or trial.state in states]
        return copied(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best trial of the highest rung that has one, as in `Ledger.best`."""
        complete = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("no trial is complete yet")
        sign = 1 if self._ledger.search.direction == "minimize" else -1
        return min(
            complete, key=lambda trial: (-trial.user_attrs["level"], sign * trial.values[0], trial.number)
        )

    def remove_session(self) -> None:
        self._ledger.close()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise LedgerError(
            "the dashboard only reads the ledger",
            where=str(self._ledger.folder),
            hint="Workers, and the commands of dahps, write to it",
        )

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    delete_study = _refuse
    set_study_user_attr = _refuse
    set_study_system_attr = _refuse
    set_trial_param = _refuse
    set_trial_state_values = _refuse
    set_trial_intermediate_value = _refuse
    set_trial_user_attr = _refuse
    set_trial_system_attr = _refuse


def _check_study(study_id: int) -> None:
    if study_id != _STUDY_ID:
        raise KeyError(f"the ledger has no study {study_id}")
