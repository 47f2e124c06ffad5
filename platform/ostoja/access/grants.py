"""What a role may say, and the rule that nobody gives what they don't hold: pure functions over grants and data classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.utils.translation import gettext as _

from ostoja.kernel import registry
from ostoja.kernel.actors import ALL_CLASSES, Actor
from ostoja.kernel.data import DataClass
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.registry import Entry

from .actor_of import merged, width
from .policy import editing_verbs, scope_of


def check_grants(grants: object, classes: object = ()) -> None:
    """Raise Refused (fields ``grants``, ``classes``) naming every object, verb, scope or class that code does not declare."""
    problems = {"grants": list(_wrong_grants(grants)), "classes": list(_wrong_classes(classes))}
    errors = {field: sentences for field, sentences in problems.items() if sentences}
    if errors:
        raise Refused(next(iter(errors.values()))[0], fields=errors, code="bad_grants")


def _wrong_grants(grants: object) -> Iterable[str]:
    if not isinstance(grants, Mapping):
        yield _("Rights are written as {example}.").format(example='{"sales.deal": {"view": "team"}}')
        return
    for label, verbs in grants.items():
        entry = registry.get(label) if isinstance(label, str) else None
        if entry is None and label != "*":
            yield _("There is no object “{label}”.").format(label=str(label)[:80])
            continue
        if entry is not None and entry.parent is not None:
            yield _("“{label}” is a part of “{parent}” and has its rights; grant those.").format(
                label=label, parent=entry.parent.label
            )
            continue
        if not isinstance(verbs, Mapping):
            yield _("The rights on “{label}” are written as {example}.").format(label=label, example='{"view": "own"}')
            continue
        known = _verbs(entry)
        scopes = _scopes(entry)
        for verb, scope in verbs.items():
            if verb != "*" and verb not in known:
                yield _("“{label}” has no verb “{verb}”; it has {verbs}.").format(
                    label=label, verb=str(verb)[:40], verbs=", ".join(sorted(known))
                )
            elif scope not in scopes:
                yield _("“{label}” has no scope “{scope}”; it has {scopes}.").format(
                    label=label, scope=str(scope)[:40], scopes=", ".join(scopes)
                )


def _wrong_classes(classes: object) -> Iterable[str]:
    if isinstance(classes, (str, Mapping)) or not isinstance(classes, Iterable):
        yield _("Data classes are a list.")
        return
    for name in classes:
        if not isinstance(name, str) or name not in ALL_CLASSES:
            yield _("There is no data class “{name}”; there are {names}.").format(
                name=str(name)[:40], names=", ".join(str(c) for c in DataClass)
            )


def _verbs(entry: Entry | None) -> set[str]:
    if entry is not None:
        return set(editing_verbs(entry))
    return {verb for each in registry.entries() for verb in editing_verbs(each)}


def _scopes(entry: Entry | None) -> tuple[str, ...]:
    """The scopes of an object; over all objects only those that mean something on each."""
    return entry.scopes if entry is not None else ("own", "team", "all")


def beyond(actor: Actor, grants: Mapping, classes: Iterable[str] = ()) -> list[str]:
    """What of these rights the actor does not hold, as ``object:verb=scope`` and names of classes; empty when all is held.

    ``*`` needs ``*``: who may do everything that there is today may not give away what comes tomorrow. A token has it
    when its scopes say ``*:*``.
    """
    whole = actor.limits is None or "*:*" in actor.limits
    if actor.superuser and whole:
        return []
    missing = [c for c in classes if c not in actor.classes]
    mine = merged([actor.grants]) if whole else {}
    for label, verbs in merged([grants]).items():
        entries = [registry.get(label)] if label != "*" else list(registry.entries())
        for verb, scope in verbs.items():
            if label == "*" or verb == "*":
                held = "all" if actor.superuser else (mine.get(label) or mine.get("*") or {}).get("*", "")
                if verb != "*" and label == "*":
                    held = max(held, (mine.get("*") or {}).get(verb, ""), key=width)
                if not whole or width(held) < width(scope):
                    missing.append(f"{label}:{verb}={scope}")
                    continue
            for entry in entries:
                if entry is None or entry.parent is not None:
                    continue
                wanted = editing_verbs(entry) if verb == "*" else [verb] if verb in editing_verbs(entry) else []
                for one in wanted:
                    held = scope_of(actor, entry, one)
                    if not _includes(held, scope):
                        missing.append(f"{entry.label}:{one}={scope}")
    return list(dict.fromkeys(missing))


def _includes(held: str | None, wanted: str) -> bool:
    """A scope includes itself and what is narrower; a surface's own scope only itself and ``own``."""
    if held == wanted or held == "all":
        return True
    return held in ("team",) and wanted == "own"


def must_hold(actor: Actor, grants: Mapping, classes: Iterable[str] = ()) -> None:
    """Raise NotAllowed when these rights are more than the actor's own; only an owner gives those."""
    missing = beyond(actor, grants, classes)
    if missing:
        raise NotAllowed(
            _("This needs rights that you don't have yourself: {rights}. Ask the owner of your organisation.").format(
                rights=", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            ),
            code="beyond_own_rights",
        )
