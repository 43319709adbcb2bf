"""What tells a Coze bot of what has happened in Airflow."""
