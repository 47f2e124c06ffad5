"""An answer is kept under its idempotency key, in the transaction of its effect: sent twice, done once."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.data import Data, Sync
from ostoja.kernel.record import Thing


class Answer(Thing):
    """What a change through the API was answered, for whoever asks the same again with the same key."""

    actor = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    asked = models.BinaryField(_("SHA-256 of the request"), max_length=32)
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    expires_at = models.DateTimeField()

    data = Data(restricted="*", keep="24 hours")
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("kept answer")
        verbose_name_plural = _("kept answers")
        constraints = [models.UniqueConstraint(fields=["actor", "key"], name="answer_has_one_key")]
        indexes = [models.Index(fields=["expires_at"], name="answer_by_expiry")]
