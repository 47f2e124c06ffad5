"""What may leave the premises: the policy by data class, object and field, a preview of every decision, and two owners for opening."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_GET, require_http_methods

from ostoja.access.models import User
from ostoja.access.policy import find
from ostoja.kernel.errors import NotFound, Refused
from ostoja.web import places, says
from ostoja.web.inside import inside
from ostoja.web.views.settings import frame

from .. import levels, policing, previewing
from ..core.terms import LOCAL, NEVER, OPEN
from ..models import PolicyRule, Site
from ..sites import policy_in_force
from ..standing import agreed_tables, kind_here

HERE = "/settings/hybrid/policy"
MOST_FIELDS = 300
MOST_DECISIONS = 12
TONES = {OPEN: "blue", LOCAL: "green", NEVER: "gray"}
About, State = PolicyRule.About, PolicyRule.State


def hybrid_only(request: HttpRequest) -> str:
    """The kind of this site. Raises NotFound where the tenant lives on one site, NotAllowed unless an owner asks."""
    kind = kind_here(request)
    if not kind:
        raise NotFound(_("This tenant lives on one site only."))
    policing.must_see(request.actor)
    return kind


@require_GET
@inside
def policy(request: HttpRequest) -> HttpResponse:
    """``/settings/hybrid/policy``: every field with its level and the reason."""
    decides = hybrid_only(request) == Site.Kind.PREMISES
    now = policy_in_force()
    rules = list(
        PolicyRule.objects.exclude(state=State.OVER)
        .select_related("proposed_by", "approved_by")
        .order_by("-created_at")
    )
    decided, everything = [r for r in rules if r.state == State.FORCE], "decisions" in request.GET
    q, only, level = (request.GET.get(n, "").strip() for n in ("q", "object", "level"))
    found = levels.objects(now, tables=None if decides else agreed_tables())
    chosen = next((o for o in found if o.label == only), None)
    fields = levels.searched([chosen] if chosen else found, q, level) if q or level or chosen else []
    context = {
        "decides": decides,
        "owners": _owners() if decides else 2,
        "proposals": [_proposal(request, r) for r in rules if r.state == State.PROPOSED],
        "decided": [_decided(r, decides) for r in (decided if everything else decided[:MOST_DECISIONS])],
        "more_decided": 0 if everything else max(0, len(decided) - MOST_DECISIONS),
        "classes": [_class(one, rules, decides) for one in levels.classes(now)] if decides else [],
        "objects": [_object(o, rules, decides) for o in found],
        "chosen": _object(chosen, rules, decides) if chosen else None,
        "fields": [_field(f, rules, decides) for f in fields[:MOST_FIELDS]],
        "left_out": max(0, len(fields) - MOST_FIELDS),
        "narrowed": bool(q or level or chosen),
        "q": q, "object": only, "level": level,
        "levels": [
            ("open", PolicyRule.Level.OPEN.label), ("local", levels.level_label(LOCAL, in_cloud=not decides)), ("never", levels.level_label(NEVER)),
        ],
        "here": HERE,
    }  # fmt: skip
    return render(request, "hybrid/policy.html", frame(request, HERE) | context)


def _owners() -> int:
    return User.objects.filter(is_owner=True, is_active=True).count()


def _pill(level: int, here: bool = True) -> dict:
    return {"label": levels.level_label(level, in_cloud=not here), "tone": TONES.get(level, TONES[LOCAL])}


def _decide(about: str, name: str, level: int) -> str:
    return places.with_query(f"{HERE}/decide", {"about": about, "name": name, "level": str(level)})


def _acts(about: str, name: str, level: int, rules: Iterable[PolicyRule]) -> list[dict]:
    """What can be decided about something at this level."""
    acts = []
    if level == OPEN:
        acts.append({"label": _("Keep here"), "icon": "lock", "url": _decide(about, name, LOCAL)})
    elif about != About.OBJECT:
        acts.append({"label": _("Propose to open"), "icon": "lock-open", "url": _decide(about, name, OPEN)})
    rule = next((r for r in rules if r.state == State.FORCE and (r.about, r.name) == (about, name)), None)
    if rule is not None:
        acts.append({"label": _("Withdraw the rule"), "icon": "undo-2", "url": f"{HERE}/{rule.pk}/withdraw"})
    return acts


def _waits(about: str, name: str, rules: Iterable[PolicyRule]) -> bool:
    return any(r.state == State.PROPOSED and (r.about, r.name) == (about, name) for r in rules)


def _class(one: dict, rules: list[PolicyRule], decides: bool) -> dict:
    acts = _acts(About.CLASS, one["name"], one["level"], rules) if decides and not one["fixed"] else []
    return one | {
        "pill": _pill(NEVER if one["fixed"] else one["level"], decides), "acts": acts,
        "waits": _waits(About.CLASS, one["name"], rules),
    }  # fmt: skip


def _object(one: levels.Object, rules: list[PolicyRule], decides: bool) -> dict:
    level = LOCAL if one.closed or not one.travels else OPEN
    never = sum(1 for f in one.fields if f.fixed)
    opened = sum(1 for f in one.fields if f.level == OPEN)
    return {
        "label": one.label, "name": one.name, "stays": one.stays, "travels": one.travels, "open": opened, "never": never,
        "stay": len(one.fields) - opened - never, "url": places.with_query(HERE, {"object": one.label}),
        "acts": _acts(About.OBJECT, one.label, level, rules) if decides and one.travels else [],
    }  # fmt: skip


def _field(one: levels.Level, rules: list[PolicyRule], decides: bool) -> dict:
    free = decides and not one.fixed and not one.bound
    return {
        "path": one.path, "label": one.label, "object": policing.things_of(one.field.model),
        "class": one.class_label, "pill": _pill(NEVER if one.fixed else one.level, decides), "why": one.why,
        "acts": _acts(About.FIELD, one.path, one.level, rules) if free else [], "waits": _waits(About.FIELD, one.path, rules),
    }  # fmt: skip


def _proposal(request: HttpRequest, rule: PolicyRule) -> dict:
    mine = rule.proposed_by_id == request.actor.user_id
    return {
        "what": str(rule), "who": str(rule.proposed_by or "–"), "at": rule.created_at, "pill": _pill(rule.level), "mine": mine,
        "approve_url": f"{HERE}/{rule.pk}/approve", "withdraw_url": f"{HERE}/{rule.pk}/withdraw",
    }  # fmt: skip


def _decided(rule: PolicyRule, decides: bool) -> dict:
    return {
        "what": str(rule), "who": str(rule.proposed_by or "–"), "second": str(rule.approved_by or ""), "at": rule.updated_at,
        "pill": _pill(rule.level), "withdraw_url": f"{HERE}/{rule.pk}/withdraw" if decides else "",
    }  # fmt: skip


# --- deciding -------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@inside
def decide(request: HttpRequest) -> HttpResponse:
    """A decision before it is made: exactly what it changes; and the button that makes it."""
    hybrid_only(request)
    policing.must_decide(request.actor)
    said = request.POST if request.method == "POST" else request.GET
    about, name, level = said.get("about", ""), said.get("name", ""), said.get("level", "")
    number = int(level) if level in ("0", "1", "2") else -1
    policing.check(about, name, number)
    problem = ""
    if request.method == "POST":
        try:
            rule = policing.propose(request.actor, about, name, number)
            return _done(rule)
        except Refused as error:
            problem = error.message
    opens = number == OPEN
    verb, submit = {
        OPEN: (_("Open: {what}"), _("Propose to open")),
        LOCAL: (_("Keep on the premises: {what}"), _("Keep on the premises")),
    }[number]
    context = {
        "heading": verb.format(what=policing.said(about, name)),
        "preview": previewing.of_decision(about, name, number),
        "hidden": [("about", about), ("name", name), ("level", level)],
        "action": f"{HERE}/decide",
        "submit": submit,
        "variant": "primary",
        "icon_name": "lock-open" if opens else "lock",
        "next": _("Nothing leaves yet: another owner has to approve it.") if opens else "",
        "lonely": opens and _owners() < 2,
    }
    return _preview(request, context, problem)


@require_http_methods(["GET", "POST"])
@inside
def approve(request: HttpRequest, pk) -> HttpResponse:
    """The second owner looks at what would leave, and agrees."""
    hybrid_only(request)
    policing.must_decide(request.actor)
    rule = find(request.actor, PolicyRule, pk)
    problem = ""
    if request.method == "POST":
        try:
            return _done(policing.approve(request.actor, rule))
        except Refused as error:
            problem = error.message
    if rule.state != State.PROPOSED:
        raise Refused(_("This is decided already."))
    context = {
        "heading": _("Open: {what}").format(what=rule),
        "preview": previewing.of_decision(rule.about, rule.name, rule.level),
        "reject_url": f"{HERE}/{rule.pk}/withdraw",
    }
    if rule.proposed_by_id == request.actor.user_id:
        context |= {
            "waits": _("You proposed this yourself: another owner approves it."),
            "reject": pgettext("proposal", "Take it back"),
            "lonely": _owners() < 2,
        }
    else:
        context |= {
            "words": _("{name} proposed this.").format(name=rule.proposed_by),
            "action": f"{HERE}/{rule.pk}/approve",
            "submit": _("Approve: let it leave"),
            "icon_name": "check",
            "variant": "danger",
            "reject": _("Reject"),
        }
    return _preview(request, context, problem)


@require_http_methods(["GET", "POST"])
@inside
def withdraw(request: HttpRequest, pk) -> HttpResponse:
    """End a rule after a look at what that changes; or reject a proposal."""
    hybrid_only(request)
    policing.must_decide(request.actor)
    rule = find(request.actor, PolicyRule, pk)
    proposed, problem = rule.state == State.PROPOSED, ""
    if request.method == "POST":
        try:
            policing.withdraw(request.actor, rule)
            text = _("The proposal is rejected; nothing changes.") if proposed else _("The rule is withdrawn.")
            return says.say(HttpResponseRedirect(HERE), text)
        except Refused as error:
            problem = error.message
    if rule.state == State.OVER:
        raise Refused(_("This rule is withdrawn already."))
    context = {
        "heading": (_("Reject: {what}") if proposed else _("Withdraw the rule: {what}")).format(what=rule),
        "preview": previewing.of_withdrawal(rule),
        "action": f"{HERE}/{rule.pk}/withdraw",
        "submit": _("Reject the proposal") if proposed else _("Withdraw the rule"),
        "icon_name": "x" if proposed else "undo-2",
        "variant": "primary",
    }
    return _preview(request, context, problem)


def _preview(request: HttpRequest, context: dict, problem: str) -> HttpResponse:
    context |= {"problem": problem, "back_url": HERE}
    return render(
        request, "hybrid/preview.html", frame(request, HERE) | context, status=422 if problem else 200
    )  # fmt: skip


def _done(rule: PolicyRule) -> HttpResponse:
    if rule.state == State.PROPOSED:
        text = _("Proposed. It waits for another owner; nothing leaves until then.")
        return says.say(HttpResponseRedirect(HERE), text, "blue")
    if rule.level == OPEN:
        return says.say(HttpResponseRedirect(HERE), _("Approved: it leaves the premises from now on."))
    return says.say(
        HttpResponseRedirect(HERE), _("It stays on the premises from now on; what the cloud has is called back.")
    )
