"""Two Celery workers, two triggerers, Redis and PostgreSQL, some of them killed midway: the recipe of ``docs/howto/scale.md``, run."""
