"""Jobs as a Django app; it loads every module's ``jobs.py``."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "ostoja.jobs"
    label = "jobs"

    def ready(self):
        """Let every app register its handlers and schedules."""
        autodiscover_modules("jobs")
