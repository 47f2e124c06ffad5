"""Where hybrid's own pages stand in the settings: for owners, in a tenant that lives on several sites."""

from __future__ import annotations

from django.utils.translation import gettext as _

from ostoja.web import additions

from ..models import PolicyRule
from ..standing import is_hybrid, kind_here
from . import policy, purges


@additions.at_sign_in
def own_passwords(request) -> str:
    """Who knows a password of another site would try it here in vain."""
    if not kind_here(request):
        return ""
    return _(
        "Every site has passwords of its own: that of another site does not count here. “Forgotten?” gets you one."
    )


@additions.in_settings
def decisions(actor) -> list[additions.Place]:
    """What leaves, with the proposals that wait; and what was called back."""
    if not actor.superuser or not is_hybrid():
        return []
    waiting = PolicyRule.objects.filter(state=PolicyRule.State.PROPOSED).count()
    return [
        additions.Place(policy.HERE, "shield-check", _("What leaves"), waiting),
        additions.Place(purges.HERE, "eraser", _("Called back")),
    ]
