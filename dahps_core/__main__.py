"""`python -m dahps_core`: the `dahps` command where it is not on the PATH."""

import sys

from dahps_core.cli import main

sys.exit(main())
