"""Access as a Django app; it tells the jobs whom they act for."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "ostoja.access"
    label = "access"

    def ready(self):
        """A job acts with the rights that its person has when it runs."""
        from ostoja.jobs.queue import use_actors

        from .actor_of import job_actor

        use_actors(job_actor)
