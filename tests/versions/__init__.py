"""``make compat``: the suite on every Airflow that is supported, and the table of what works where that is made from its results."""
