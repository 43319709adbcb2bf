"""``airflow coze …``: look at Coze, and begin a DAG, without spending anything."""
