"""Onboarding's schedule: building goes on where it stopped, and what never opened is forgotten."""

from __future__ import annotations

from ostoja.jobs.schedule import every

from . import signup


@every(seconds=15)
def resume_stopped() -> int:
    """Try again what stopped while it was built."""
    return signup.resume_stopped()


@every(seconds=3600)
def forget_stopped() -> int:
    """Delete the password hashes of tenants that never opened."""
    return signup.forget_stopped()
