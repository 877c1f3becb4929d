"""Pictures of the report and the dashboard, of 2,000 trials of the larger study: report.png, dashboard.png.

Run: python -m tests.pictures.make
"""

import tempfile
import threading
from pathlib import Path

from dahps_core import Ledger
from dahps_core.dashboard.serving import make_dashboard
from dahps_core.report import write_report
from tests import synthetic
from tests.browser import browser

HERE = Path(__file__).parent
N_TRIALS = 2000


def main():
    with tempfile.TemporaryDirectory() as name, browser() as (page, complaints):
        folder = Path(name) / "seeds"
        synthetic.fill(folder, synthetic.search_of(synthetic.seeds_space()), N_TRIALS)
        page.set_viewport_size({"width": 1280, "height": 1000})
        take_report(page, folder)
        take_dashboard(page, folder)
        assert not complaints, complaints


def take_report(page, folder):
    with Ledger.open(folder) as ledger:
        write_report(ledger, folder / "report.html")
    page.goto((folder / "report.html").as_uri())
    page.wait_for_selector("body[data-drawn]")
    page.screenshot(path=HERE / "report.png")


def take_dashboard(page, folder):
    server = make_dashboard(folder, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page.goto(f"http://127.0.0.1:{server.server_port}/dashboard/studies/0")
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 6")
    page.get_by_text("dataset").first.wait_for()
    page.screenshot(path=HERE / "dashboard.png")
    server.shutdown()


if __name__ == "__main__":
    main()
