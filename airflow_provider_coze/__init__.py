"""Run Coze bots and workflows from Apache Airflow.

Airflow imports this package while it discovers providers, so nothing is imported here.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Read ``__version__`` from the installed distribution, which has it from ``pyproject.toml``: one version, one place."""
    if name == "__version__":
        from importlib.metadata import version

        return version("airflow-provider-coze")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
