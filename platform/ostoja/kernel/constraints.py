"""Rules that the database keeps for everyone: checks, state tables, frozen states and rules of our own, with a sentence."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.constraints import BaseConstraint
from django.db.models.sql.query import Query
from django.utils.translation import gettext_lazy as _

from .conditions import Unknown, holds

UNTOUCHED = ("version", "updated_at")


class Check(models.CheckConstraint):
    """A condition that every row meets; ``says`` is the sentence that people read when it does not."""

    def __init__(self, condition, *, name: str, says: object = None, field: str = ""):
        self.says = says
        self.field = field
        super().__init__(condition=condition, name=name)

    def clone(self):
        """Django clones constraints into the model's options; the sentence goes with them."""
        return copy.copy(self)

    def deconstruct(self):
        path, args, kwargs = super().deconstruct()
        return "ostoja.kernel.constraints.Check", (kwargs.pop("condition"),), kwargs

    def validate(self, model, instance, exclude=None, using="default"):
        """Say in the form what the database would refuse; leave to the database what only it can tell.

        While a verb's arguments are read, ``_state.becoming`` names the field that it is about to set: a rule on that field
        can't be judged yet.
        """
        if getattr(instance._state, "becoming", "") in self.condition.referenced_base_fields:
            return
        try:
            if holds(self.condition, instance) is False:
                message = self.says or _("The rule “{name}” does not allow this.").format(name=self.name)
                refusal = ValidationError(message, code=self.name)
                raise ValidationError({self.field: [refusal]}) if self.field else refusal
        except Unknown:
            return


class TriggerRule(BaseConstraint):
    """A constraint kept by a trigger: one function and one trigger of the constraint's name in every tenant's schema.

    Function bodies name tables without a schema, so that a schema can be copied by its dump.
    """

    events = "INSERT OR UPDATE"
    timing = "BEFORE"
    deferred = False
    says: object = None

    def clone(self):
        """Django clones constraints into the model's options; the sentence goes with them."""
        return copy.copy(self)

    def body(self, model, schema_editor) -> str:
        """The statements between BEGIN and END of the trigger function."""
        raise TypeError(f"{type(self).__name__} must define body().")

    def refuse(self, message: str) -> str:
        """A statement that refuses the change under this constraint's name."""
        text = message.replace("'", "''")
        return (
            f"RAISE EXCEPTION USING ERRCODE = '23514', CONSTRAINT = '{self.name}', "
            f"TABLE = TG_TABLE_NAME, MESSAGE = '{text}';"
        )

    def function_sql(self, model, schema_editor) -> str:
        """CREATE FUNCTION of the rule."""
        q = schema_editor.quote_name
        return (
            f"CREATE OR REPLACE FUNCTION {q(self.name)}() RETURNS trigger LANGUAGE plpgsql AS $rule$\n"
            f"BEGIN\n{self.body(model, schema_editor)}\nEND $rule$"
        )

    def trigger_sql(self, model, schema_editor) -> str:
        """CREATE TRIGGER of the rule."""
        q = schema_editor.quote_name
        kind = "CONSTRAINT TRIGGER" if self.deferred else "TRIGGER"
        wait = " DEFERRABLE INITIALLY DEFERRED" if self.deferred else ""
        timing = "AFTER" if self.deferred else self.timing
        return (
            f"CREATE {kind} {q(self.name)} {timing} {self.events} ON {q(model._meta.db_table)}{wait} "
            f"FOR EACH ROW EXECUTE FUNCTION {q(self.name)}()"
        )

    def constraint_sql(self, model, schema_editor):
        """Nothing inside CREATE TABLE: function and trigger follow it."""
        schema_editor.deferred_sql.append(self.function_sql(model, schema_editor))
        schema_editor.deferred_sql.append(self.trigger_sql(model, schema_editor))

    def create_sql(self, model, schema_editor):
        schema_editor.execute(self.function_sql(model, schema_editor), params=None)
        return self.trigger_sql(model, schema_editor)

    def remove_sql(self, model, schema_editor):
        q = schema_editor.quote_name
        schema_editor.execute(f"DROP TRIGGER {q(self.name)} ON {q(model._meta.db_table)}", params=None)
        return f"DROP FUNCTION {q(self.name)}()"

    def validate(self, model, instance, exclude=None, using="default"):
        """The database tells; a form can't see the row that was."""

    def deconstruct(self):
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, (), {"name": self.name}

    def __eq__(self, other):
        return type(self) is type(other) and self.deconstruct() == other.deconstruct()

    __hash__ = BaseConstraint.__hash__


def condition_sql(model, condition, schema_editor) -> str:
    """A Q as SQL with unqualified columns and literal values."""
    query = Query(model=model, alias_cols=False)
    where = query.build_where(condition)
    compiler = query.get_compiler(connection=schema_editor.connection)
    sql, params = where.as_sql(compiler, schema_editor.connection)
    return sql % tuple(schema_editor.quote_value(p) for p in params)


class Follows(TriggerRule):
    """A state machine: from which value of a field which others may follow. ``start`` are the values a new row may have."""

    def __init__(
        self,
        field: str,
        edges: Mapping[str, Iterable[str]],
        *,
        name: str,
        start: Iterable[str] | None = None,
        says: object = None,
    ):
        self.field = field
        self.edges = {str(k): tuple(str(v) for v in to) for k, to in edges.items()}
        self.start = tuple(str(s) for s in start) if start is not None else (next(iter(self.edges)),)
        self.says = says or _("This step is not possible from the present state.")
        super().__init__(name=name)

    def deconstruct(self):
        path, args, kwargs = super().deconstruct()
        return path, (self.field, {k: list(v) for k, v in self.edges.items()}), {**kwargs, "start": list(self.start)}

    def body(self, model, schema_editor) -> str:
        column = schema_editor.quote_name(model._meta.get_field(self.field).column)
        value = schema_editor.quote_value
        pairs = [f"({value(a)}, {value(b)})" for a, to in self.edges.items() for b in to]
        starts = ", ".join(value(s) for s in self.start)
        allowed = f"(OLD.{column}, NEW.{column}) IN ({', '.join(pairs)})" if pairs else "false"
        return (
            f"IF TG_OP = 'INSERT' THEN\n"
            f"  IF NEW.{column} NOT IN ({starts}) THEN {self.refuse('A new row can not start in this state.')} END IF;\n"
            f"ELSIF NEW.{column} IS DISTINCT FROM OLD.{column} AND NOT ({allowed}) THEN\n"
            f"  {self.refuse('This state does not follow from the present one.')}\n"
            f"END IF;\nRETURN NEW;"
        )


class Frozen(TriggerRule):
    """Rows that meet ``when`` can't be changed (but for ``free`` fields) or deleted, by any path.

    ``with_parent`` names a foreign key: ``when`` is then a condition on the parent, and its frozen state freezes the
    rows below it, new ones included.
    """

    events = "INSERT OR UPDATE OR DELETE"

    def __init__(self, *, when, name: str, free: Iterable[str] = (), says: object = None, with_parent: str = ""):
        self.when = when
        self.free = tuple(free)
        self.with_parent = with_parent
        self.says = says or _("This can't be changed any more.")
        super().__init__(name=name)

    def deconstruct(self):
        path, args, kwargs = super().deconstruct()
        kwargs |= {"when": self.when, "free": list(self.free)}
        if self.with_parent:
            kwargs["with_parent"] = self.with_parent
        return path, (), kwargs

    def body(self, model, schema_editor) -> str:
        refuse = self.refuse("The row is frozen.")
        columns = [model._meta.get_field(name).column for name in self.free] + list(UNTOUCHED)
        minus = "".join(f" - '{c}'" for c in columns)
        same = f"(to_jsonb(NEW){minus}) IS NOT DISTINCT FROM (to_jsonb(OLD){minus})"
        if self.with_parent:
            key = model._meta.get_field(self.with_parent)
            parent = key.related_model
            q = schema_editor.quote_name
            frozen = (
                f"SELECT 1 FROM {q(parent._meta.db_table)} WHERE {q(parent._meta.pk.column)} = ROW.{q(key.column)} "
                f"AND ({condition_sql(parent, self.when, schema_editor)})"
            )
            hold = f"PERFORM 1 FROM {q(parent._meta.db_table)} WHERE {q(parent._meta.pk.column)} = ROW.{q(key.column)} FOR NO KEY UPDATE;"
            came = f"TG_OP = 'UPDATE' AND NEW.{q(key.column)} IS DISTINCT FROM OLD.{q(key.column)}"
            # The parent is held, so that nobody freezes it between this look and the end of the transaction.
            return (
                f"IF TG_OP <> 'INSERT' THEN\n  {hold.replace('ROW.', 'OLD.')}\n"
                f"  IF EXISTS ({frozen.replace('ROW.', 'OLD.')}) THEN\n"
                f"    IF TG_OP = 'DELETE' THEN {refuse} ELSIF NOT ({same}) THEN {refuse} END IF;\n  END IF;\nEND IF;\n"
                f"IF TG_OP = 'INSERT' OR {came} THEN\n  {hold.replace('ROW.', 'NEW.')}\n"
                f"  IF EXISTS ({frozen.replace('ROW.', 'NEW.')}) THEN {refuse} END IF;\nEND IF;\n"
                f"IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\nRETURN NEW;"
            )
        condition = condition_sql(model, self.when, schema_editor)
        return (
            f"IF TG_OP = 'INSERT' THEN RETURN NEW; END IF;\n"
            f"IF EXISTS (SELECT 1 FROM (SELECT OLD.*) AS present WHERE {condition}) THEN\n"
            f"  IF TG_OP = 'DELETE' THEN {refuse} ELSIF NOT ({same}) THEN {refuse} END IF;\nEND IF;\n"
            f"IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\nRETURN NEW;"
        )


class Acyclic(TriggerRule):
    """Records that are parts of records of the same kind never form a circle, however the parent is set."""

    DEEPEST = 100

    def __init__(self, field: str, *, name: str, says: object = None):
        self.field = field
        self.says = says or _("This would make it a part of itself.")
        super().__init__(name=name)

    def deconstruct(self):
        path, _args, kwargs = super().deconstruct()
        return path, (self.field,), kwargs

    def body(self, model, schema_editor) -> str:
        q = schema_editor.quote_name
        table, column = q(model._meta.db_table), q(model._meta.get_field(self.field).column)
        refuse = self.refuse("The row would be a part of itself.")
        return (
            f"IF NEW.{column} IS NULL THEN RETURN NEW; END IF;\n"
            f"IF TG_OP = 'UPDATE' AND NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN RETURN NEW; END IF;\n"
            f"DECLARE above uuid := NEW.{column}; steps int := 0;\nBEGIN\n"
            f"  WHILE above IS NOT NULL LOOP\n"
            f"    steps := steps + 1;\n"
            f"    IF above = NEW.id OR steps > {self.DEEPEST} THEN {refuse} END IF;\n"
            f"    SELECT {column} INTO above FROM {table} WHERE id = above;\n"
            f"  END LOOP;\nEND;\nRETURN NEW;"
        )


class Rule(TriggerRule):
    """A rule in PL/pgSQL of one's own, for what the others can't say: totals kept from lines, histories kept by the database.

    ``sql`` is the body; in it ``{refuse}`` stands for the statement that refuses. AFTER rules end with RETURN NULL.
    """

    def __init__(
        self,
        sql: str,
        *,
        name: str,
        on: str = "INSERT OR UPDATE OR DELETE",
        timing: str = "AFTER",
        deferred=False,
        says: object = None,
    ):
        self.sql = sql
        self.events = on
        self.timing = timing
        self.deferred = deferred
        self.says = says or _("A rule of the database does not allow this.")
        super().__init__(name=name)

    def deconstruct(self):
        path, args, kwargs = super().deconstruct()
        return path, (self.sql,), {**kwargs, "on": self.events, "timing": self.timing, "deferred": self.deferred}

    def body(self, model, schema_editor) -> str:
        return self.sql.replace("{refuse}", self.refuse("A rule of the database refused the row."))
