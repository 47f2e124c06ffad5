"""What is kept of a sign-up until its tenant is open, and of whom it was for."""

from __future__ import annotations

from django.db import models

from ostoja.kernel.ids import uuid7
from ostoja.tenancy.models import Tenant


class SignUp(models.Model):
    """One company that signed up: everything that building its tenant needs, so that building can go on where it stopped.

    ``password`` is the Argon2 hash, and empty as soon as the first user has it. ``watch`` is the SHA-256 of the secret by
    which the browser that signed up may ask how far it is.
    """

    lives_in_public = True

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.OneToOneField(Tenant, models.CASCADE, related_name="sign_up")
    email = models.EmailField(max_length=254)
    person = models.CharField(max_length=150)
    password = models.CharField(max_length=128, blank=True)
    samples = models.BooleanField(default=False)
    watch = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
