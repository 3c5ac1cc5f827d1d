"""The command, as `python -m medallion_cli`."""

import sys

from medallion_cli import main

sys.exit(main())
