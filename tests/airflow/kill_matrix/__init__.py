"""The kill matrix: a real Airflow whose processes are killed at every point, and what Coze billed."""
