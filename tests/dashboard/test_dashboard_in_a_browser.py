import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import nullcontext, suppress
from urllib.parse import urlsplit

import pytest

from dahps_core import Ledger
from dahps_core.dashboard import serving
from tests import synthetic
from tests.browser import browser, need_browser
from tests.core.test_ranks_strangers import Dripper
from tests.ledger.ledger_support import claimed, finish, register


@pytest.fixture
def dashboard():
    """Starts `dahps dashboard` on a ledger; its address."""
    started = []

    def start(folder):
        command = [sys.executable, "-m", "dahps_core", "dashboard", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_how_to_get_there_and_ends_quietly(dashboard, tmp_path):
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 20)
    process, address = dashboard(tmp_path)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert "ssh -L" in process.stdout.readline()
    assert b"trial_id" in urllib.request.urlopen(f"{address}api/studies/0", timeout=60).read()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "")


@pytest.mark.parametrize("speaks", [Dripper, nullcontext], ids=["drips", "silent"])
def test_a_connection_that_sends_no_whole_request_is_closed(tmp_path, monkeypatch, speaks):
    monkeypatch.setattr(serving, "REQUEST_S", 1.5)
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 5)
    with serving.make_dashboard(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with socket.create_connection(server.server_address) as connected, speaks(connected):
                connected.settimeout(60)
                with suppress(ConnectionResetError):  # a byte was on its way
                    while connected.recv(4096):
                        pass
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "api/studies/0/note", b'{"version": 1, "body": "x"}'),
        ("POST", "api/studies", b'{"study_name": "x", "directions": ["minimize"]}'),
        ("POST", "api/studies/0/rename", b'{"study_name": "x"}'),
        ("DELETE", "api/studies/0", b"{}"),
    ],
)
def test_what_would_write_is_refused(dashboard, tmp_path, method, path, body):
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 5)
    before = (tmp_path / "ledger.db").read_bytes()
    _, address = dashboard(tmp_path)
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, data=body, method=method, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=60)
    assert refusal.value.code == 403
    assert b"only read" in refusal.value.read()
    assert (tmp_path / "ledger.db").read_bytes() == before


HOSTS = {
    "localhost:{port}": 200,
    "LOCALHOST": 200,
    "127.0.0.1:8080": 200,  # a tunnel's other end
    "[::1]:8080": 200,
    "rebound.example:{port}": 403,
    "127.0.0.1.rebound.example": 403,
    "localhost@rebound.example": 403,
    "0.0.0.0:{port}": 403,
    "[": 403,
    "": 403,
}


def test_only_who_calls_this_machine_by_its_own_name_is_answered(dashboard, tmp_path):
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 5)
    _, address = dashboard(tmp_path)
    answers = {host: answer_to(address, host.format(port=urlsplit(address).port)) for host in HOSTS}
    assert {host: status for host, (status, _) in answers.items()} == HOSTS
    for status, body in answers.values():
        assert (b"trial_id" in body) is (status == 200)


def answer_to(address, host):
    request = urllib.request.Request(f"{address}api/studies/0", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def test_a_port_that_is_taken_is_told_in_one_line(dashboard, tmp_path):
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 2)
    _, address = dashboard(tmp_path)
    port = address.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "dahps_core", "dashboard", str(tmp_path), "--port", port]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith(f"dahps: --port: port {port}: {os.strerror(98)}")
    assert told.stderr.count("\n") == 1


def test_a_search_of_the_larger_study_is_drawn_without_a_complaint(dashboard, tmp_path):
    need_browser()
    synthetic.fill(tmp_path, synthetic.search_of(synthetic.seeds_space()), 2000)
    _, address = dashboard(tmp_path)
    with browser() as (page, complaints):
        page.goto(f"{address}dashboard/studies/0")
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 6")
        assert "Hyperparameter Importance" in page.inner_text("body")
        page.goto(f"{address}dashboard/studies/0/analytics")
        page.wait_for_selector(".js-plotly-plot .main-svg")
        assert complaints == []


def test_hostile_values_are_shown_as_they_are(dashboard, tmp_path):
    need_browser()
    with Ledger.join(tmp_path, synthetic.hostile_search()) as ledger:
        worker = register(ledger, host="<script>alert(2)</script>")
        for number in range(30):
            finish(ledger, claimed(ledger, worker), float(number))
    _, address = dashboard(tmp_path)
    with browser() as (page, complaints):
        page.goto(f"{address}dashboard/studies/0")
        page.get_by_text("<script>alert(1)</script>").first.wait_for()  # the best trial's value
        page.goto(f"{address}dashboard/studies/0/trials?numbers=0")
        page.get_by_text("<script>alert(2)</script>").first.wait_for()
        assert complaints == []
