"""Names of Coze's things for Airflow's lineage and schedules: ``coze://bot/<id>``."""
