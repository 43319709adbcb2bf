"""Bots as managed agents of ``apache-airflow-providers-common-ai``, the optional extra ``common-ai``. Nothing else imports this room."""
