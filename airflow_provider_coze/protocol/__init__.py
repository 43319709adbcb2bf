"""What Coze is: requests, answers and decisions, with no I/O, no clock and no Airflow."""
