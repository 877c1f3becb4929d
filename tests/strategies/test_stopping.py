"""The two rules of early stopping, and what training code sees of them."""

import math

import pytest

from dahps_core import DistributedAsynchronousGridSearch
from dahps_core.errors import ConfigurationError
from dahps_core.strategies.stopping import Stopper


def stops_at(stopper, metrics):
    """The first step at which it says so; None: never."""
    for step, metric in enumerate(metrics):
        stopper.take(step, metric)
        if stopper.should_stop:
            return step
    return None


FIVE = [{step: level / (step + 1) for step in range(10)} for level in (1, 2, 3, 4, 5)]  # median: of level 3


class TestPatience:
    @pytest.mark.parametrize(
        ("metrics", "step"),
        [
            ([5, 4, 3, 2, 1, 0], None),
            ([5, 5, 5, 5], 3),
            ([5, 4, 6, 6, 6, 1], 4),
            ([5, 6, 6, 4, 6, 6, 6], 6),
            ([math.nan] * 5, 3),
            ([1, math.nan, math.nan, math.nan], 3),
            ([5, 6, 6], None),
        ],
    )
    def test_so_many_reports_without_a_new_best_one(self, metrics, step):
        assert stops_at(Stopper("patience", 3, "minimize", {}), metrics) == step
        assert stops_at(Stopper("patience", 3, "maximize", {}), [-metric for metric in metrics]) == step

    def test_earlier_attempts_count(self):
        stopper = Stopper("patience", 3, "minimize", {0: 1.0, 1: 2.0, 2: 2.0})
        stopper.take(3, 2.0)
        assert stopper.should_stop

    def test_the_last_word_for_a_step_counts(self):
        stopper = Stopper("patience", 2, "minimize", {0: 1.0, 1: 2.0, 2: 2.0})
        assert stopper.should_stop
        stopper.take(2, 0.5)
        assert not stopper.should_stop


class TestMedian:
    def test_who_is_worse_than_the_median_is_stopped_after_so_many_reports(self):
        assert stops_at(Stopper("median", 3, "minimize", {}, FIVE), [9.0] * 9) == 2
        assert stops_at(Stopper("median", 3, "minimize", {}, FIVE), [0.1] * 9) is None

    def test_it_is_the_average_up_to_the_step_that_counts(self):
        # Of level 3: 3, 2.25, 1.83, 1.56: a metric of 1.7 is worse from step 3 on.
        assert stops_at(Stopper("median", 1, "minimize", {}, FIVE), [1.7] * 9) == 3

    def test_maximizing_is_minimizing_the_negated_metric(self):
        others = [{step: -metric for step, metric in other.items()} for other in FIVE]
        assert stops_at(Stopper("median", 1, "maximize", {}, others), [-1.7] * 9) == 3

    def test_few_others_say_nothing(self):
        assert stops_at(Stopper("median", 1, "minimize", {}, FIVE[:4]), [99.0] * 9) is None
        late = [{step + 100: 0.0 for step in other} for other in FIVE]
        assert stops_at(Stopper("median", 1, "minimize", {}, late), [99.0] * 9) is None

    def test_nan_is_worse_than_anything(self):
        assert stops_at(Stopper("median", 2, "minimize", {}, FIVE), [math.nan] * 9) == 1
        assert stops_at(Stopper("median", 1, "minimize", {}, [{0: math.nan}] * 5), [99.0] * 3) is None


CONFIG = {"root": {"key": "x", "values": list(range(8)), "default": None}}


@pytest.mark.parametrize(
    ("stop", "n_reports"),
    [(None, [10] * 8), ("patience", [3] * 8), ("median", [10] * 5 + [2] * 3)],
)
def test_a_trial_is_told_to_stop(tmp_path, stop, n_reports):
    search = DistributedAsynchronousGridSearch.from_config(tmp_path, CONFIG, stop=stop, stop_after=2)
    found = []
    for trial in search:
        for step in range(10):
            trial.report(float(trial.combination["x"]), step)
            if trial.should_stop:
                break
        found.append(step + 1)
        search.finish_combination(trial.combination["x"])
    assert found == n_reports


@pytest.mark.parametrize("options", [{"stop": "mean"}, {"stop": "median", "stop_after": 0}])
def test_mistakes_are_told(tmp_path, options):
    with pytest.raises(ConfigurationError, match=r"strategy\.stop"):
        DistributedAsynchronousGridSearch.from_config(tmp_path, CONFIG, **options)
