"""What hybrid adds to the API of objects that travel: whether a record is shared, marking and opening it; previews of the policy."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ostoja.api.additions import Word, add
from ostoja.kernel.actors import Actor
from ostoja.kernel.data import Sync
from ostoja.kernel.errors import Refused
from ostoja.kernel.record import Record
from ostoja.kernel.registry import Entry

from . import disputes, marking, policing, previewing, sealing
from .core.terms import LOCAL
from .models import Conflict, PolicyRule, Site
from .standing import is_hybrid, kind_here, travelling


def travels(entry: Entry) -> bool:
    """Whether records of this object can be on another site at all."""
    return entry.model.sync != Sync.LOCAL


def seals(entry: Entry) -> bool:
    """Whether records of this object can be sealed."""
    return travels(entry) and sealing.can_be_sealed(entry)


def sharing(actor: Actor, record: Record, query: Mapping) -> dict:
    """Whether a record is shared with the cloud, why, and what of it passes when it is."""
    if kind_here() == Site.Kind.CLOUD:
        return {"state": marking.SHARED, "why": _("It is in the cloud."), "marked": False, "passes": []}
    stands = marking.standing_of(record, travelling(kind_here()))
    passes = previewing.narrowed(actor, previewing.of_record(record, actor))
    return _said(stands) | {"passes": previewing.as_data(passes)}


def mark_sensitive(actor: Actor, record: Record, body: Mapping) -> dict:
    """Mark a record and its parts; answers where it stands then."""
    _known(body, ("level",))
    level = body.get("level", LOCAL)
    marked = marking.mark(actor, record, int(level) if str(level).isdigit() else -1)
    return _said(marking.standing_of(record)) | {"records": marked}


def open_again(actor: Actor, record: Record, body: Mapping) -> dict:
    """Open a record and its parts again; answers where it stands then."""
    _known(body, ())
    opened = marking.open_again(actor, record)
    return _said(marking.standing_of(record)) | {"records": opened}


def insiders(actor: Actor, record: Record, query: Mapping) -> dict:
    """Who may see a sealed record besides the owners of the tenant."""
    return _circle(record)


def let_in(actor: Actor, record: Record, body: Mapping) -> dict:
    """Name somebody who may see a sealed record; answers who may then."""
    sealing.let_in(actor, record, _person(body))
    return _circle(record)


def shut_out(actor: Actor, record: Record, body: Mapping) -> dict:
    """Take somebody off the list of a sealed record; answers who may see it then."""
    sealing.shut_out(actor, record, _person(body))
    return _circle(record)


def disputed(actor: Actor, conflict: Conflict, query: Mapping) -> dict:
    """Both values of a conflict and the rule that applied."""
    return dict(disputes.values(actor, conflict))


def preview_decision(actor: Actor, entry, query: Mapping) -> dict:
    """Exactly what a decision would change, before it is made."""
    policing.must_decide(actor)
    about, name, level = query.get("about", ""), query.get("name", ""), query.get("level", "")
    number = int(level) if level in ("0", "1", "2") else -1
    policing.check(about, name, number)
    return _previewed(previewing.of_decision(about, name, number))


def preview_rule(actor: Actor, rule: PolicyRule, query: Mapping) -> dict:
    """What a proposal would change when it is approved, or a rule in force when it is withdrawn."""
    policing.must_decide(actor)
    if rule.state == PolicyRule.State.PROPOSED:
        return _previewed(previewing.of_decision(rule.about, rule.name, rule.level))
    return _previewed(previewing.of_withdrawal(rule))


def _person(body: Mapping) -> object:
    _known(body, ("user",))
    return body.get("user")


def _circle(record: Record) -> dict:
    if sealing.label_of(record) is None:
        return {"sealed": False, "owner": None, "insiders": []}
    circle = sealing.circle_of(record)
    return {
        "sealed": True,
        "owner": {"id": circle.owner.pk, "label": circle.owner.name} if circle.owner is not None else None,
        "insiders": [
            {"id": one.user_id, "label": one.user.name, "sealed_it": one.sealer, "since": one.created_at}
            for one in circle.insiders
        ],
    }


def _known(body: Mapping, names: tuple[str, ...]) -> None:
    wrong = {name: [_("There is no such field, or it can't be set.")] for name in body if name not in names}
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)


def _said(stands: marking.Standing) -> dict:
    return {
        "state": stands.state, "why": stands.why, "marked": stands.marked, "inherited": stands.inherited,
        "told_at": stands.told_at, "gone_at": stands.gone_at, "backups_until": stands.backups_until,
    }  # fmt: skip


def _previewed(found: previewing.Preview) -> dict:
    return {
        "says": found.said(), "leaves": previewing.as_data(found.leaves), "returns": previewing.as_data(found.returns),
    }  # fmt: skip


LEVEL = gettext_lazy("0 open, 1 stays here")
add(Word("sharing", gettext_lazy("Whether one is shared with the cloud"), read=sharing, here=is_hybrid, fits=travels))
add(
    Word(
        "mark-sensitive", gettext_lazy("Mark one as sensitive: it leaves the cloud"), do=mark_sensitive, here=is_hybrid,
        fits=travels,
        body={"level": gettext_lazy("1 stays here (usual), 2 sealed")},
    )
)  # fmt: skip
add(
    Word(
        "open-again", gettext_lazy("Open one again: it goes to the cloud"), do=open_again, here=is_hybrid, fits=travels
    )
)
add(
    Word(
        "insiders", gettext_lazy("Who may see one that is sealed, besides the owners of the tenant"), read=insiders, here=is_hybrid,
        fits=seals,
    )
)  # fmt: skip
PERSON = {"user": gettext_lazy("the person's id")}
add(
    Word(
        "let-in",
        gettext_lazy("Let somebody see one that is sealed"),
        do=let_in,
        here=is_hybrid,
        fits=seals,
        body=PERSON,
    )
)
add(
    Word(
        "shut-out",
        gettext_lazy("Let somebody not see one any more that is sealed"),
        do=shut_out,
        here=is_hybrid,
        fits=seals,
        body=PERSON,
    )
)
add(
    Word(
        "preview", gettext_lazy("What a decision would change"), of="hybrid.policyrule", record=False,
        read=preview_decision, here=is_hybrid,
        query={"about": gettext_lazy("class, field or object"), "name": gettext_lazy("its name"), "level": LEVEL},
    )
)  # fmt: skip
add(
    Word(
        "preview", gettext_lazy("What approving or withdrawing one would change"), of="hybrid.policyrule",
        read=preview_rule, here=is_hybrid,
    )
)  # fmt: skip
add(
    Word(
        "values", gettext_lazy("Both values of a conflict, as far as you may see the field, and the rule that applied"),
        of="hybrid.conflict", read=disputed, here=is_hybrid,
    )
)  # fmt: skip
