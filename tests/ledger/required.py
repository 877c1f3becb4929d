"""Tests that need root, or a tool that is not everywhere: skipped without, failed where all are to run."""

import os

import pytest


def skip_unless_required(reason):
    """Where DAHPS_REQUIRE_FAULTS=1, whatever is missing is a failure."""
    if os.environ.get("DAHPS_REQUIRE_FAULTS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
