import pytest

from dahps_core import Ledger
from dahps_core.report import labels, write_report
from tests import synthetic
from tests.browser import browser, need_browser
from tests.ledger.ledger_support import claimed, finish, register


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


def opened(page, path):
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-drawn]")


def test_a_search_of_the_larger_study_is_drawn_without_a_complaint(tmp_path):
    synthetic.fill(tmp_path / "ledger", synthetic.search_of(synthetic.seeds_space()), 2000)
    with Ledger.open(tmp_path / "ledger") as ledger:
        write_report(ledger, tmp_path / "report.html")
    with browser() as (page, complaints):
        opened(page, tmp_path / "report.html")
        assert page.locator(".plot .main-svg").count() >= 6
        assert page.locator("#tree .slice").count() > 20
        assert page.locator("#trials tbody tr").count() == 100
        page.fill("#words", "FAILED cuda")
        assert 0 < page.locator("#trials tbody tr").count() <= 100
        assert set(page.locator("#trials tbody tr td:nth-child(2)").all_inner_texts()) == {"failed"}
        page.fill("#words", "")
        page.click("#trials th:nth-child(3)")
        ranked = [float(text) for text in page.locator("#trials tbody tr td:nth-child(3)").all_inner_texts()]
        assert ranked == sorted(ranked)
        page.click("#on")
        assert page.locator("#shown").inner_text().startswith("page 2 of 2")
        assert complaints == []


def hostile_report(tmp_path):
    with Ledger.join(tmp_path / "ledger", synthetic.hostile_search(metric="<b>loss</b>")) as ledger:
        worker = register(ledger, host="<b>host</b>")
        for number in range(30):
            finish(
                ledger, claimed(ledger, worker), float(number), {"<b>loss</b>": float(number)}, "<b>out</b>"
            )
        write_report(ledger, tmp_path / "report.html")
    return tmp_path / "report.html"


def bold_texts(page):
    bold = """() => [...document.querySelectorAll(".plot tspan, section b")]
        .filter((one) => Number(getComputedStyle(one).fontWeight) > 400).length"""
    return page.evaluate(bold)


def test_hostile_values_are_shown_as_they_are(tmp_path):
    path = hostile_report(tmp_path)
    with browser() as (page, complaints):
        opened(page, path)
        assert complaints == []
        assert bold_texts(page) == 0
        for place in ("#per-value", "#parallel", "#tree"):
            shown = page.locator(place).text_content().replace("\u200b", "")
            assert "<b>" in shown, place
            assert "&lt;" in shown, place
        assert "<script>alert(1)</script>" in page.locator("#trials").inner_text()
        assert "<script>" in page.locator("#tree").text_content().replace("\u200b", "")


def test_without_the_protection_plotly_takes_values_for_tags(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "_BREAK", "")
    path = hostile_report(tmp_path)
    with browser() as (page, _):
        opened(page, path)
        assert bold_texts(page) > 0
