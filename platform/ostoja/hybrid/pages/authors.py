"""Who wrote something, as people read it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from ostoja.kernel.ids import parse_uuid
from ostoja.web.story import names_behind

from ..authors import PERSON, PROGRAM
from ..disputes import Author


def said(author: Author) -> dict:
    """Who wrote it, when and at which site; the site alone where nobody is known here by that key.

    What another site says of itself is looked up as a person's key alone: what else has keys has them here.
    """
    kind, _colon, id = author.key.partition(":")
    key = parse_uuid(id) if kind in (PERSON, PROGRAM) else None
    name = ""
    if key is not None:
        who = name = names_behind([f"{PERSON}:{key}"]).get(f"{PERSON}:{key}", "")
        if kind == PROGRAM:
            who = _("{who} (through a program)").format(who=name) if name else _("A program")
    elif author.ours:
        who = names_behind([author.key]).get(author.key) or (_("Ostoja") if author.key else "")
    else:
        who = ""
    return {"who": who, "face": name or who, "key": key or "", "at": author.at, "site": author.site}
