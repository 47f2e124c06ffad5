"""A job is a row in the tenant's schema, written in the transaction that wants the work done."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.data import Data, Sync
from ostoja.kernel.record import Thing


class Job(Thing):
    """One piece of background work with its progress; ``cursor`` is where a restarted job goes on."""

    class State(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        PARKED = "parked", _("Parked")
        CANCELLED = "cancelled", _("Cancelled")

    kind = models.CharField(max_length=80)
    title = models.CharField(max_length=200, blank=True)
    args = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(null=True, blank=True)
    message = models.CharField(max_length=300, blank=True)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    cursor = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    user_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=150, blank=True)
    limits = models.JSONField(null=True)  # the scopes of the API token that queued it
    created_at = models.DateTimeField(auto_now_add=True)
    run_after = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    data = Data(
        internal=[
            "kind",
            "title",
            "state",
            "done",
            "total",
            "message",
            "attempts",
            "cancel_requested",
            "user_id",
            "actor_label",
            "limits",
            "created_at",
            "run_after",
            "started_at",
            "finished_at",
        ],
        confidential="*",
    )
    sync = Sync.LOCAL

    class Meta:
        indexes = [
            models.Index(fields=["run_after"], name="job_waiting", condition=models.Q(state__in=["queued", "running"]))
        ]

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen with it."""
        return self.state not in (self.State.QUEUED, self.State.RUNNING)

    @property
    def percent(self) -> int | None:
        """Progress from 0 to 100, or None when the total is unknown."""
        return min(100, self.done * 100 // self.total) if self.total else None
