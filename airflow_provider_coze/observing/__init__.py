"""What an operator of Airflow gets to see of the work: metrics and spans. Nothing here ever fails or holds up a task."""
