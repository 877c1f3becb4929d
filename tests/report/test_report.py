import json
import math
import random
import re
import subprocess
import sys

import pytest

from dahps_core import Ledger, Search, SearchSpace
from dahps_core.report import write_report
from tests import large_ledgers, synthetic
from tests.ledger.ledger_support import claim_all, claimed, fail, fill, finish, grid, levelled, register


def reported(folder, tmp_path):
    """The page of a ledger, and the data in it."""
    path = tmp_path / "report.html"
    with Ledger.open(folder) as ledger:
        write_report(ledger, path)
    page = path.read_text(encoding="utf-8")
    return page, json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    )


def test_the_page_needs_no_network(tmp_path):
    synthetic.fill(tmp_path / "ledger", synthetic.search_of(synthetic.seeds_space()), 60)
    page, _ = reported(tmp_path / "ledger", tmp_path)
    assert "default-src 'none'" in page  # a browser keeps to it
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
    assert page.count("<script") - page.count('"<script') >= 3


def test_an_empty_ledger_says_so(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1, 2)).close()
    page, data = reported(tmp_path / "ledger", tmp_path)
    assert data["trials"] == []
    assert set(data["figures"]) == {"tree"}
    assert "none yet" in page
    assert page.count("Nothing to show yet") == 5


@pytest.mark.parametrize("metric", [0.5, math.nan, math.inf, None, 1e308])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_one_trial_is_shown_whatever_its_metric(tmp_path, metric, direction):
    search = Search(SearchSpace.from_config({"root": None}), strategy="grid", seed=0, direction=direction)
    with Ledger.join(tmp_path / "ledger", search) as ledger:
        claim = claimed(ledger, register(ledger))
        ledger.finish_if_held(claim, result=metric, metric=metric, output_dir=None)
    page, data = reported(tmp_path / "ledger", tmp_path)
    assert len(data["trials"]) == 1
    is_finite = metric is not None and math.isfinite(metric)
    assert ("over-time" in data["figures"]) == is_finite
    assert ("without a finite metric" in page) != is_finite


def test_a_level_counts_only_where_it_applies(tmp_path):
    root = {"key": "x", "values": ["a", "b"], "a": {"key": "y", "values": [1, 2], "default": None}, "b": None}
    search = Search(SearchSpace.from_config({"root": root}), strategy="grid", seed=0)
    with Ledger.join(tmp_path / "ledger", search) as ledger:
        worker = register(ledger)
        for metric in (1, 2, 9):
            finish(ledger, claimed(ledger, worker), float(metric))
    _, data = reported(tmp_path / "ledger", tmp_path)
    figures = data["figures"]
    assert figures["per-value"]["layout"]["xaxis2"]["ticktext"] == ["1 (1)", "2 (1)"]
    y = next(axis for axis in figures["parallel"]["data"][0]["dimensions"] if axis["label"] == "y")
    assert y["ticktext"] == ["not set", "1", "2"]


def test_the_best_is_the_lowest_or_the_highest_as_the_search_says(tmp_path):
    for direction, best in (("minimize", 1.0), ("maximize", 3.0)):
        search = Search(grid(1, 2, 3).space, strategy="grid", seed=0, direction=direction)
        with Ledger.join(tmp_path / direction, search) as ledger:
            worker = register(ledger)
            for metric in (2.0, 1.0, 3.0):
                finish(ledger, claimed(ledger, worker), metric)
        _, data = reported(tmp_path / direction, tmp_path)
        assert data["figures"]["over-time"]["data"][-1]["y"][-1] == best


def test_the_best_of_repeated_combinations_is_told_with_its_mean(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid("lucky", "good", repetitions=2)) as ledger:
        worker = register(ledger)
        for metric in (0.0, 9.0, 1.0, 3.0):
            finish(ledger, claimed(ledger, worker), metric)
    page, _ = reported(tmp_path / "ledger", tmp_path)
    assert "left out" not in page
    assert "<dt>best</dt><dd>2 ± 1.4 (n=2/2), trial 2: x=good</dd>" in page


def test_combinations_that_do_not_rank_are_counted(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid("a", "b", repetitions=2)) as ledger:
        worker = register(ledger)
        for metric in (0.0, math.nan, 1.0):
            finish(ledger, claimed(ledger, worker), metric)
    page, _ = reported(tmp_path / "ledger", tmp_path)
    assert "2 incomplete combinations left out: 1 with repetitions still to run, 1 with a repetition" in page


def test_failures_and_interruptions_are_in_the_timeline(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid(1, 2, 3)) as ledger:
        worker = register(ledger)
        finish(ledger, claimed(ledger, worker))
        ledger.release_if_held(claimed(ledger, worker), output_dir=None)
        fail(ledger, claimed(ledger, worker))
        claimed(ledger, worker)
    _, data = reported(tmp_path / "ledger", tmp_path)
    spans = {trace["name"]: trace["text"] for trace in data["figures"]["workers"]["data"]}
    assert spans == {
        "finished": ["trial 0, attempt 1"],
        "released": ["trial 1, attempt 1"],
        "failed": ["trial 1, attempt 2"],
        "running": ["trial 2, attempt 1"],
    }


def test_promotions_are_shown_where_there_are_levels(tmp_path):
    with Ledger.join(tmp_path / "ledger", levelled(20)) as ledger:
        worker = register(ledger)
        for _ in range(20):
            claim = claimed(ledger, worker)
            finish(ledger, claim, float(claim.number))
        rungs = ledger.rungs()
    _, data = reported(tmp_path / "ledger", tmp_path)
    ended, _, _ = data["figures"]["rungs"]["data"]
    assert ended["name"] == "ended"
    assert sum(rung.n_promoted for rung in rungs) > 0
    assert len(data["figures"]["rungs"]["layout"]["xaxis"]["ticktext"]) == len(rungs)


def test_an_extended_search_shows_the_trials_of_all_its_spaces(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid(1, 2)) as ledger:
        worker = register(ledger)
        for metric in (1.0, 2.0):
            finish(ledger, claimed(ledger, worker), metric)
    wider = Search(
        SearchSpace.from_config({"root": {"key": "z", "values": ["new"], "default": None}}), "grid", seed=0
    )
    with Ledger.join(tmp_path / "ledger", wider, on_change="extend") as ledger:
        finish(ledger, claimed(ledger, register(ledger)), 3.0)
    page, data = reported(tmp_path / "ledger", tmp_path)
    assert "the newest of 2 spaces" in page
    assert [axis["label"] for axis in data["figures"]["parallel"]["data"][0]["dimensions"]] == ["x", "metric"]
    assert data["figures"]["tree"]["data"][0]["labels"] == ["all", "z=new"]


def notes_of(page, section):
    """What stands below the title of a section."""
    return re.search(rf"<h2>{section}</h2>(.*?)(<div|</section>)", page, re.S)[1]


def test_what_is_left_out_is_told_where_it_was(tmp_path):
    leaf = {"key": "y", "values": [1, 2], "default": None}
    root = {"key": "x", "values": [*range(40)], "default": leaf}
    search = Search(SearchSpace.from_config({"root": root}), strategy="grid", seed=0)
    with Ledger.join(tmp_path / "ledger", search) as ledger:
        worker = register(ledger)
        for number in range(80):
            finish(ledger, claimed(ledger, worker), float(number))
    page, data = reported(tmp_path / "ledger", tmp_path)
    assert "Left out: 10 of the 40 values of x: those with the fewest" in notes_of(page, "Metric by value")
    assert len(data["figures"]["per-value"]["layout"]["xaxis"]["ticktext"]) <= 30
    assert "all levels below, of which the next has 80 branches" in notes_of(page, "Tree")
    assert "Left out" not in notes_of(page, "Parallel coordinates")


def test_branches_that_are_left_out_are_counted(tmp_path):
    cases = {value: {"key": f"y{value}", "values": [1, 2], "default": None} for value in range(25)}
    root = {"key": "x", "values": [*range(25)], "cases": cases, "default": None}
    search = Search(SearchSpace.from_config({"root": root, "repetitions": 2}), strategy="grid", seed=0)
    with Ledger.join(tmp_path / "ledger", search) as ledger:
        worker = register(ledger)
        for number in range(100):
            finish(ledger, claimed(ledger, worker), float(number))
    page, _ = reported(tmp_path / "ledger", tmp_path)
    assert "Left out: 5 of the 25 branches, those with" in notes_of(page, "Importance of the keys")
    assert "Left out" not in notes_of(page, "Tree")


def test_of_too_many_trials_a_sample_is_shown_and_described(tmp_path, monkeypatch):
    for name, n in (("MOST_TRIALS", 2_000), ("_RANDOM", 300), ("_BEST", 20)):
        monkeypatch.setattr(f"dahps_core.report.sample.{name}", n)
    monkeypatch.setattr("dahps_core.report.survey.MOST_TRIALS", 2_000)
    large_ledgers.fill(tmp_path / "ledger", synthetic.search_of(synthetic.seeds_space()), 2_500)
    page, data = reported(tmp_path / "ledger", tmp_path)
    with Ledger.open(tmp_path / "ledger") as ledger:
        trials = list(ledger.trials())
        best = ledger.best_trials(20)
    shown = {row[0] for row in data["trials"]}
    failed = {trial.number for trial in trials if trial.state.value in ("failed", "lost")}
    assert failed | {trial.number for trial in best} <= shown
    assert 300 <= len(shown) <= 320 + len(failed)
    described = re.search("<dt>sample</dt><dd>(.*?)</dd>", page)[1]
    assert described.startswith(
        "The page shows 300 of 2,500 trials, drawn at random, the 20 best, "
        f"and all the {len(failed)} that failed or were lost."
    )
    assert page.count("Of the sample that is described at the top.") == 6
    course = data["figures"]["over-time"]["data"][-1]
    assert course["y"] == best_so_far(trials)
    n_lines = len(data["figures"]["parallel"]["data"][0]["line"]["color"])
    n_measured = sum(trial.metric is not None and math.isfinite(trial.metric) for trial in trials)
    assert f"Left out: {n_measured - n_lines:,} of the {n_measured:,} trials" in page
    assert re.search(r"about [\d,]+ of 1,719,168 trials", json.dumps(data["figures"]["tree"]))
    assert sum(len(trace["x"]) for trace in data["figures"]["workers"]["data"]) < 330


def best_so_far(trials):
    """Each metric that was better than all before it; at the end the last one again."""
    ends = sorted((one.ended_at, one.number, one.metric) for one in trials if one.metric is not None)
    found = []
    for _, _, metric in ends:
        if math.isfinite(metric) and (not found or metric < found[-1]):
            found.append(metric)
    return [*found, found[-1]]


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_over_time_is_exact_in_whatever_order_trials_end(tmp_path, order):
    luck = random.Random(0)
    with Ledger.join(tmp_path / "ledger", grid(*range(40))) as ledger:
        claims, _ = claim_all(ledger, register(ledger))
        for claim in claims[::order]:
            finish(ledger, claim, float(luck.randrange(30)))
        assert [one.metric for one in ledger.improvements()] == best_so_far(ledger.trials())[:-1]


def test_lines_that_are_left_out_are_counted(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1)).close()
    fill(tmp_path / "ledger", 2501, "finished")
    page, data = reported(tmp_path / "ledger", tmp_path)
    drawn = len(data["figures"]["parallel"]["data"][0]["line"]["color"])
    assert f"Left out: {2501 - drawn:,} of the 2,501 trials" in notes_of(page, "Parallel coordinates")


def test_what_trials_failed_of_is_told_at_the_top(tmp_path):
    with Ledger.join(tmp_path / "ledger", grid(*range(9))) as ledger:
        worker = register(ledger)
        for number in range(8):
            error = "Traceback ...\nOSError: <disk>\n" if number < 4 else f"KeyError: {number}"
            fail(ledger, claimed(ledger, worker, max_attempts=1), error)
    page, _ = reported(tmp_path / "ledger", tmp_path)
    told = "4 x OSError: &lt;disk&gt;, 1 x KeyError: 4, 1 x KeyError: 5, and 2 other errors"
    assert f"<dt>failures</dt><dd>{told}</dd>" in page


def test_values_stay_text(tmp_path):
    with Ledger.join(tmp_path / "ledger", synthetic.hostile_search(metric="<b>loss</b>")) as ledger:
        worker = register(ledger, host="<b>host</b>")
        for number in range(20):
            claim = claimed(ledger, worker)
            told = {"<b>loss</b>": float(number)}
            ledger.finish_if_held(claim, result=told, metric=float(number), output_dir="<b>out</b>")
    page, data = reported(tmp_path / "ledger", tmp_path)
    start = page.index("<body>")
    body = page[start : page.index('<script type="application/json"')]
    assert not re.search(r"<(?!/?(body|h1|h2|dl|dt|dd|section|p|div|input|button|span|table)\b)", body)
    assert data["trials"][0][7] == "x='<script>alert(1)</script>'"


def test_the_command_tells_where_the_page_is(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1)).close()
    page = tmp_path / "a report, größer.html"
    command = [sys.executable, "-m", "dahps_core", "report", str(tmp_path / "ledger"), "-o", str(page)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == f"{page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_command_says_in_one_line_why_it_cannot_write(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1)).close()
    command = [
        sys.executable,
        "-m",
        "dahps_core",
        "report",
        str(tmp_path / "ledger"),
        "-o",
        "/nowhere/x.html",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith("dahps: /nowhere/x.html")
    assert told.stderr.count("\n") == 1


def test_a_page_that_cannot_be_written_leaves_nothing_half_written(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1)).close()
    (tmp_path / "report.html").mkdir()
    with Ledger.open(tmp_path / "ledger") as ledger, pytest.raises(IsADirectoryError):
        write_report(ledger, tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "report.html"]


def test_without_plotly_one_sentence_says_what_to_install(tmp_path):
    Ledger.join(tmp_path / "ledger", grid(1)).close()
    code = (
        "import sys; sys.modules['plotly'] = None\n"
        "from dahps_core import Ledger\nfrom dahps_core.errors import ConfigurationError\n"
        "from dahps_core.report import write_report\n"
        "try: write_report(Ledger.open(sys.argv[1]), 'report.html')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "ledger"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "pip install 'dahps[report]'" in told


def test_the_pages_of_two_ledgers_do_not_overwrite_each_other(tmp_path):
    told = []
    for name in ("one", "two", "one", "two"):
        Ledger.join(tmp_path / name, grid(1)).close()
        command = [sys.executable, "-m", "dahps_core", "report", name]
        told.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    names = ["report.html", "report-2.html"]
    assert told == [f"{tmp_path / name}\n" for name in [*names, *names]]
    for page, name in zip(names, ("one", "two"), strict=True):
        assert str(tmp_path / name) in (tmp_path / page).read_text(encoding="utf-8")
