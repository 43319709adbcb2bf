"""What Airflow's provider discovery reads. Imports nothing: an error here would take every ``airflow`` command down."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the shape of Airflow's ``provider_info.schema.json``."""
    return {"package-name": "airflow-provider-coze", "name": "Coze", "description": "Run Coze bots and workflows."}
