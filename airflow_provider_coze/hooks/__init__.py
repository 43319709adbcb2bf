"""The door between Airflow and Coze: connections in, flows performed."""
