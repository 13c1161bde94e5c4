"""`python -m hpo_lib.cli`: the `hpo` command without an installed script."""

from __future__ import annotations

import sys

from hpo_lib.cli.main import main

sys.exit(main())
