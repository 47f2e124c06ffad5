"""Decisions of a tenant's owners on what leaves the premises: who may decide what, what it changes, and when it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ostoja.gate import perform
from ostoja.jobs.queue import queue
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.data import DataClass
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.record import Record

from .core.terms import NEVER, OPEN, SEALED, Manifest
from .manifest import AUTHORITY, EACH_SITE_KEEPS, Policy, compile_manifest, difference, never_lower
from .models import PolicyRule, Site
from .sites import policy_in_force

ADOPT = "hybrid.adopt"
About, State = PolicyRule.About, PolicyRule.State


# --- what is decided about ------------------------------------------------------------------------------------------------


def class_label(name: str) -> str:
    """A data class in one word."""
    words = {"public": _("Public"), "internal": _("Internal"), "confidential": _("Confidential"), "restricted": _("Restricted")}  # fmt: skip
    return words.get(str(name), str(name))


def model_of(label: str) -> type[Record] | None:
    """The business object of this label, or None."""
    return next((m for m in registry.records() if m._meta.label_lower == label), None)


def fields_of(model: type[Record]) -> list[models.Field]:
    """The fields of an object that a policy speaks of."""
    return [
        f for f in model._meta.concrete_fields
        if f.name not in EACH_SITE_KEEPS and not f.generated and not f.primary_key
    ]  # fmt: skip


def field_of(path: str) -> tuple[type[Record], models.Field] | None:
    """The object and field of ``sales.deal.notes``, or None."""
    label, _dot, name = path.rpartition(".")
    model = model_of(label)
    found = next((f for f in fields_of(model) if f.name == name), None) if model else None
    return (model, found) if model and found is not None else None


def things_of(model: type[Record]) -> str:
    """What an object's records are called, with what they are parts of where others are called the same."""
    name = str(capfirst(model._meta.verbose_name_plural))
    entry = registry.get(model._meta.label_lower)
    if entry is None or entry.parent is None or model not in _called_alike():
        return name
    return f"{name} ({entry.parent.model._meta.verbose_name_plural})"


@lru_cache(maxsize=1)
def _called_alike() -> frozenset[type[Record]]:
    found = list(registry.records())
    names = Counter(str(m._meta.verbose_name_plural) for m in found)
    return frozenset(m for m in found if names[str(m._meta.verbose_name_plural)] > 1)


def said(about: str, name: str) -> str:
    """What a rule is about, in the reader's words."""
    if about == About.CLASS:
        return _("Data class “{name}”").format(name=class_label(name))
    if about == About.OBJECT:
        model = model_of(name)
        return things_of(model) if model else name
    found = field_of(name)
    if found is None:
        return name
    model, field = found
    return f"{things_of(model)}: {field.verbose_name}"


# --- who decides, and what ------------------------------------------------------------------------------------------------


def must_see(actor: Actor) -> None:
    """Raise NotAllowed unless the actor is an owner of the tenant."""
    if not actor.superuser:
        raise NotAllowed(_("Only an owner of the tenant sees and decides what leaves the premises."))


def must_decide(actor: Actor) -> None:
    """Raise NotAllowed unless the actor is an owner, a person, and on the premises."""
    must_see(actor)
    if actor.user_id is None:
        raise NotAllowed(_("People decide what leaves the premises: sign in as an owner."))
    if Site.objects.filter(here=True).exclude(kind=Site.Kind.PREMISES).exists():
        raise NotAllowed(_("The premises decide what leaves them: decide there."))


def check(about: str, name: str, level: int) -> None:
    """Raise Refused by field unless such a decision is possible: the thing exists, and may be opened where it opens it."""
    opens = level == OPEN
    if level == SEALED:
        raise _wrong("level", _("Sealing is for single records: mark the record."))
    if level not in PolicyRule.Level.values:
        raise _wrong("level", _("A level is 0 (open) or 1 (stays here)."))
    if about == About.CLASS:
        if name not in set(DataClass):
            raise _wrong("name", _("There is no such data class: public, internal, confidential or restricted."))
        if name == DataClass.RESTRICTED and opens:
            raise _wrong("level", _("Restricted data never leaves the premises."))
    elif about == About.OBJECT:
        model = model_of(name)
        if model is None or model.sync not in AUTHORITY:
            raise _wrong("name", _("There is no such object that travels. Write it like “sales.deal”."))
    elif about == About.FIELD:
        found = field_of(name)
        if found is None:
            raise _wrong("name", _("There is no such field. Write it like “sales.deal.notes”."))
        model, field = found
        if model.sync not in AUTHORITY:
            raise _wrong("name", _("Records of this object never leave the site where they were made."))
        if never_lower(model, field.name):
            raise _wrong("level", _("This field never leaves the premises, whatever is decided."))
    else:
        raise _wrong("about", _("A rule is about a class, a field or an object."))


def _wrong(name: str, sentence: str) -> Refused:
    return Refused(sentence, fields={name: [sentence]}, code="policy")


def with_rule(policy: Policy, about: str, name: str, level: int) -> Policy:
    """The policy with one more decision."""
    if about == About.CLASS:
        return replace(policy, classes={**policy.classes, DataClass(name): level})
    if about == About.FIELD:
        return replace(policy, fields={**policy.fields, name: level})
    return replace(policy, closed=policy.closed | {name} if level > OPEN else policy.closed - {name})


def without_rule(policy: Policy, about: str, name: str) -> Policy:
    """The policy with one decision less."""
    if about == About.CLASS:
        return replace(policy, classes={c: n for c, n in policy.classes.items() if c != name})
    if about == About.FIELD:
        return replace(policy, fields={f: n for f, n in policy.fields.items() if f != name})
    return replace(policy, closed=policy.closed - {name})


def opened_with_care(before: Policy, after: Policy) -> tuple[str, ...]:
    """The fields that a change of policy opens although the code keeps them closed: two people decide on those."""
    opened = difference(compile_manifest(before), compile_manifest(after)).opens
    declared = compile_manifest()
    return tuple(path for path in opened if _declared_level(declared, path) > OPEN)


def _declared_level(manifest: Manifest, path: str) -> int:
    label, _dot, name = path.rpartition(".")
    terms = manifest.models.get(label)
    return terms.fields[name].level if terms and name in terms.fields else NEVER


# --- deciding -------------------------------------------------------------------------------------------------------------


def propose(actor: Actor, about: str, name: str, level: int) -> PolicyRule:
    """Decide on a data class, a field or an object. What closes is in force at once; what opens waits for a second owner.

    Raises NotAllowed, Refused (``about``, ``name``, ``level``).
    """
    must_decide(actor)
    return perform(actor, PolicyRule, "add", {"about": about, "name": name, "level": level})


def approve(actor: Actor, rule: PolicyRule) -> PolicyRule:
    """Agree as a second owner. Raises NotAllowed, Refused."""
    must_decide(actor)
    return perform(actor, rule, "approve")


def withdraw(actor: Actor, rule: PolicyRule) -> PolicyRule:
    """Reject a proposal, or end a rule. Raises NotAllowed; Refused when that would open what two people must decide on."""
    must_decide(actor)
    return perform(actor, rule, "withdraw")


def prepare(rule: PolicyRule, actor: Actor, verb: str) -> None:
    """What the gate asks before a rule is saved. Raises NotAllowed, Refused."""
    must_decide(actor)
    if verb in ("add", "import"):
        _prepare_new(rule, actor)
    elif verb == "approve":
        if actor.user_id == rule.proposed_by_id:
            raise Refused(_("You proposed this yourself: another owner approves it."), code="second_person")
        check(rule.about, rule.name, rule.level)
        rule.approved_by_id = actor.user_id
        _replace(rule)
    elif verb == "withdraw":
        _prepare_withdrawal(rule)


def _prepare_new(rule: PolicyRule, actor: Actor) -> None:
    check(rule.about, rule.name, rule.level)
    rule.proposed_by_id, rule.approved_by_id = actor.user_id, None
    same = PolicyRule.objects.filter(about=rule.about, name=rule.name)
    if same.filter(state=State.PROPOSED, level=rule.level).exists():
        raise _wrong("name", _("This is proposed already and waits for a second person."))
    if same.filter(state=State.FORCE, level=rule.level).exists():
        raise _wrong("level", _("This is decided so already."))
    policy = policy_in_force()
    after = with_rule(policy, rule.about, rule.name, rule.level)
    if rule.level == OPEN or opened_with_care(policy, after):
        if rule.level > OPEN:
            raise _wrong("level", _("This would open what the code keeps closed. Propose to open it instead."))
        rule.state = State.PROPOSED
    else:
        rule.state = State.FORCE
        _replace(rule)


def _prepare_withdrawal(rule: PolicyRule) -> None:
    if PolicyRule.objects.filter(pk=rule.pk, state=State.PROPOSED).exists():
        rule.only_rejected = True
        return
    policy = policy_in_force()
    careful = opened_with_care(policy, without_rule(policy, rule.about, rule.name))
    if careful:
        names = ", ".join(said(About.FIELD, path) for path in careful[:3]) + (" …" if len(careful) > 3 else "")
        raise Refused(
            _("Withdrawing this would open what two people decide on ({names}). Propose to open it instead.").format(
                names=names
            ),
            code="second_person",
        )


def _replace(rule: PolicyRule) -> None:
    """A new decision on the same thing ends the one in force."""
    for former in PolicyRule.objects.select_for_update().filter(about=rule.about, name=rule.name, state=State.FORCE):
        former.state = State.OVER
        former.save(update_fields=["state", "updated_at"])


def settled(rule: PolicyRule, actor: Actor) -> None:
    """After a rule was saved, in the same transaction: what changed what may travel is adopted as soon as it is committed."""
    if rule.state != State.PROPOSED and not rule.only_rejected and Site.objects.filter(here=True).exists():
        queue(actor, ADOPT, _("The policy comes into force"))


def in_force_changed(actor: Actor) -> None:
    """The policy is another one: this site, and then the other one, keep to it from now on."""
    from .adopting import adopt

    adopt()
