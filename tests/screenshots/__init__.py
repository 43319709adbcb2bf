"""The pictures of Airflow's pages in ``docs/images``; ``make screenshots``."""
