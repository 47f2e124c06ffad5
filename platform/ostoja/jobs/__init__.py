"""Jobs: work that runs in the background; a job is a row first, Celery only carries and executes it."""
