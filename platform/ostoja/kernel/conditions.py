"""Evaluates a Q on a record in Python, so that a form can say what the database would refuse."""

from __future__ import annotations

from django.db.models import F, Q


class Unknown(Exception):
    """The condition uses something that only the database can answer."""


def holds(condition: Q, instance) -> bool | None:
    """Whether ``condition`` is true of ``instance`` by SQL's three-valued logic; None means SQL's NULL.

    Raises Unknown for look-ups across relations or functions.
    """
    results = []
    for child in condition.children:
        results.append(holds(child, instance) if isinstance(child, Q) else _compare(child, instance))
    if condition.connector == Q.AND:
        value = False if False in results else (None if None in results else True)
    elif condition.connector == Q.OR:
        value = True if True in results else (None if None in results else False)
    else:
        raise Unknown(condition.connector)
    if condition.negated:
        return None if value is None else not value
    return value


def _compare(child, instance) -> bool | None:
    if not isinstance(child, tuple):
        raise Unknown(repr(child))
    path, right = child
    name, _, lookup = path.partition("__")
    lookup = lookup or "exact"
    left = _value(name, instance)
    if isinstance(right, F):
        right = _value(right.name, instance)
    elif hasattr(right, "resolve_expression"):
        raise Unknown(repr(right))
    if lookup == "isnull":
        return (left is None) == bool(right)
    if left is None or right is None:
        return None
    try:
        match lookup:
            case "exact":
                return left == right
            case "gt":
                return left > right
            case "gte":
                return left >= right
            case "lt":
                return left < right
            case "lte":
                return left <= right
            case "in":
                return left in right
    except TypeError as error:
        raise Unknown(path) from error
    raise Unknown(path)


def _value(name: str, instance):
    try:
        field = instance._meta.get_field(name)
    except Exception as error:
        raise Unknown(name) from error
    return getattr(instance, field.attname)
