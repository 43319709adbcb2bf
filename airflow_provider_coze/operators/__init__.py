"""What a DAG author writes: one operator per kind of work.

Airflow imports an operator's module whenever it parses a DAG file that uses it, which happens far more often than a task runs. So these
modules (``base``, ``asking``, ``running``, and one for each operator) import at their top only what it takes to make an operator. What a
run needs is imported in the method that needs it; the modules that do the work import what they like. ``tests/test_imports.py`` counts.
"""
