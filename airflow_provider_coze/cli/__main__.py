"""``python -m airflow_provider_coze.cli``: the same commands where Airflow knows none of providers, which is before 3.2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from airflow_provider_coze.cli.definition import parser, run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: 0, or 1 if it did not succeed; argparse itself exits with 2 for arguments it does not understand.
    """
    given = parser().parse_args(arguments)
    return run(given.command, given)


if __name__ == "__main__":
    sys.exit(main())
