"""Users, departments, roles, tokens, sessions and invitations of one tenant."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ostoja.kernel import registry
from ostoja.kernel.constraints import Check, Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.fields import ObjectField
from ostoja.kernel.record import Record, Thing, verb

from . import remembered


class Department(Record):
    """A part of the organisation; who works in one sees, with the scope ``team``, what is owned in it and below it."""

    name = models.CharField(_("name"), max_length=120)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="parts", verbose_name=_("part of")
    )

    data = Data(internal=["name", "parent"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("department")
        verbose_name_plural = _("departments")
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="department_name_is_unique",
                violation_error_message=_("There is a department of this name."),
            ),
            Check(
                ~Q(parent=F("id")),
                name="department_is_not_its_own_part",
                field="parent",
                says=_("A department can't be a part of itself."),
            ),
        ]

    def __str__(self):
        return self.name

    def prepare(self, actor, verb):
        """No circles; and nobody brings a department below their own, for its records would become their team's."""
        if self.parent_id is None:
            return
        above, seen = self.parent_id, {self.pk}
        while above is not None:
            if above in seen:
                raise Refused(
                    _("This would make the department a part of itself."),
                    fields={"parent": [str(_("This would make the department a part of itself."))]},
                )
            seen.add(above)
            above = type(self).objects.filter(pk=above).values_list("parent_id", flat=True).first()
        if verb == "add" or actor.superuser or self.parent_id not in actor.departments or self.pk in actor.departments:
            return
        raise NotAllowed(_("You can't bring a department below your own. Ask the owner of your organisation."))

    def settled(self, actor, verb, changed):
        """Whose records are the team's may be another answer now."""
        remembered.forget()


class Role(Record):
    """What its holders may do: verbs on objects over whose records, and which data classes they see.

    ``grants`` is {object label: {verb: scope}} where object and verb may be ``*``; ``level`` orders roles from the head of
    the company (1) down and is shown, never computed with.
    """

    name = models.CharField(_("name"), max_length=80)
    code = models.SlugField(_("code"), max_length=40)
    level = models.PositiveSmallIntegerField(_("level"), default=5)
    grants = models.JSONField(_("rights"), default=dict, blank=True)
    classes = models.JSONField(_("data classes"), default=list, blank=True)

    data = Data(internal=["name", "code", "level", "grants", "classes"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints = [
            models.UniqueConstraint(
                fields=["code"],
                name="role_code_is_unique",
                violation_error_message=_("There is a role with this code."),
            ),
        ]

    def __str__(self):
        return self.name

    def prepare(self, actor, verb):
        """Only rights that exist, and none that whoever writes them does not hold."""
        from .grants import check_grants, must_hold

        self.grants, self.classes = self.grants or {}, self.classes or []
        check_grants(self.grants, self.classes)
        if not actor.superuser:
            before = type(self).objects.filter(pk=self.pk).values("grants", "classes").first()
            if before is not None:
                must_hold(actor, before["grants"], before["classes"])
        must_hold(actor, self.grants, self.classes)

    def leaving(self, actor):
        """Only who holds all its rights takes a role away."""
        from .grants import must_hold

        must_hold(actor, self.grants, self.classes)

    def settled(self, actor, verb, changed):
        """Its holders have other rights now."""
        remembered.forget()


class UserManager(BaseUserManager):
    """Finds users by their e-mail address, whatever its case."""

    def get_by_natural_key(self, username):
        return self.get(email=username.strip().lower())


class User(AbstractBaseUser, Record):
    """A person who can sign in to one tenant."""

    last_login = None

    email = models.EmailField(_("e-mail"), max_length=254)
    name = models.CharField(_("name"), max_length=150)
    department = models.ForeignKey(
        Department, models.PROTECT, null=True, blank=True, related_name="users", verbose_name=_("department")
    )
    roles = models.ManyToManyField(Role, through="UserRole", related_name="users")
    is_owner = models.BooleanField(_("owner of the tenant"), default=False)
    is_active = models.BooleanField(_("may sign in"), default=True)
    language = models.CharField(
        _("language"), max_length=10, default="en", choices=[("en", "English"), ("pl", "Polski")]
    )
    timezone = models.CharField(_("time zone"), max_length=64, default="Europe/Warsaw")
    email_confirmed_at = models.DateTimeField(_("e-mail confirmed"), null=True, blank=True, editable=False)

    objects = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    data = Data(
        internal=["name", "email", "department", "is_owner", "is_active", "language", "timezone", "email_confirmed_at"],
        secret=["password"],
        subject="id",
    )
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_is_unique",
                violation_error_message=_("Somebody uses this e-mail address already."),
            ),
            Check(
                Q(is_owner=False) | Q(is_active=True),
                name="user_owner_is_active",
                field="is_active",
                says=_("An owner can't be switched off; make somebody else the owner first."),
            ),
            Rule(
                "IF OLD.is_owner AND (TG_OP = 'DELETE' OR NOT NEW.is_owner) THEN\n"
                "  PERFORM 1 FROM access_user WHERE is_owner FOR UPDATE;\n"
                "  IF NOT FOUND THEN {refuse} END IF;\n"
                "END IF;\nRETURN NULL;",
                name="user_an_owner_remains",
                on="UPDATE OR DELETE",
                says=_("This is the last owner. Make somebody else the owner first."),
            ),
        ]

    def __str__(self):
        return self.name

    def prepare(self, actor, verb):
        """Addresses are kept in lower case; nobody takes over, switches off or promotes who has more rights than they."""
        from .guards import guard_change

        self.email = self.email.strip().lower()
        guard_change(actor, self, verb)

    def leaving(self, actor):
        """Nobody deletes themselves, or who has more rights than they."""
        from .guards import must_command

        if self.pk == actor.user_id:
            raise NotAllowed(_("You can't delete yourself. Ask another owner."))
        must_command(actor, self)
        remembered.forget()

    def settled(self, actor, verb, changed):
        """Who is switched off is signed out everywhere, and their tokens are revoked."""
        remembered.forget()
        if "is_active" in changed and not self.is_active:
            self.sessions.all().delete()
            for token in self.tokens.filter(revoked_at=None):
                token.revoke()
                token.save(update_fields=["revoked_at", "updated_at"])

    @property
    def initials(self) -> str:
        """Two letters for the avatar."""
        parts = self.name.split()
        return (parts[0][:1] + (parts[-1][:1] if len(parts) > 1 else "")).upper()

    @verb(
        label=_("Switch off"),
        icon="user-x",
        tone="danger",
        confirm=_("They are signed out everywhere and can't sign in any more."),
    )
    def deactivate(self):
        """The person can't sign in any more; what they own stays theirs until it is handed over."""
        self.is_active = False

    @verb(label=_("Switch on"), icon="user-check")
    def activate(self):
        """The person can sign in again."""
        self.is_active = True


class UserRole(Record):
    """One user holds one role."""

    user = models.ForeignKey(User, models.PROTECT, related_name="held_roles", verbose_name=_("user"))
    role = models.ForeignKey(Role, models.PROTECT, related_name="holders", verbose_name=_("role"))

    data = Data(internal=["user", "role"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("held role")
        verbose_name_plural = _("held roles")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "role"],
                name="user_holds_a_role_once",
                violation_error_message=_("This person holds this role already."),
            )
        ]

    def __str__(self):
        return f"{self.user}: {self.role}"

    def prepare(self, actor, verb):
        """Nobody gives a role with more rights than their own."""
        from .grants import must_hold

        if verb != "add":
            raise NotAllowed(_("A held role can't be changed: take it away and give another."))
        must_hold(actor, self.role.grants, self.role.classes)

    def settled(self, actor, verb, changed):
        """The person has other rights now."""
        remembered.forget()

    def leaving(self, actor):
        """Nor does anybody take away a role that is above their own rights."""
        from .grants import must_hold

        must_hold(actor, self.role.grants, self.role.classes)
        remembered.forget()


class ApiToken(Record):
    """A key for programs: acts as its user, narrowed to its scopes, until it expires or is revoked.

    Only the SHA-256 of the secret is kept; ``prefix`` is shown so that people can tell tokens apart. ``scopes`` are
    ``object:verb`` with ``*`` for either, e.g. ``*:view``.
    """

    user = models.ForeignKey(User, models.PROTECT, related_name="tokens")
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(_("scopes"), default=list)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    data = Data(internal=["user", "name", "prefix", "scopes", "expires_at", "revoked_at"], secret=["digest"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        constraints = [models.UniqueConstraint(fields=["digest"], name="token_digest_is_unique")]

    def __str__(self):
        return self.name

    @property
    def state(self) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "active"

    def prepare(self, actor, verb):
        """A token is made by ``tokens.issue`` alone, which shows its secret once."""
        if verb != "revoke":
            raise NotAllowed(
                _("Tokens are made in the settings and can't be changed; revoke this one and make another.")
            )

    def settled(self, actor, verb, changed):
        """A revoked token is dead at once."""
        remembered.forget()

    @verb(
        label=_("Revoke"),
        icon="key-round",
        tone="danger",
        confirm=_("Programs that use this token can't get in any more."),
    )
    def revoke(self):
        """Nobody gets in with the token from now on."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()


class TokenUse(Thing):
    """When a token was last used, to the minute; no change that anybody made, so it is outside of the journal."""

    token = models.OneToOneField(ApiToken, models.CASCADE, related_name="use")
    at = models.DateTimeField()

    data = Data(internal=["token", "at"])
    sync = Sync.LOCAL


class Session(Thing):
    """One signed-in browser; the person sees the list and can end each."""

    key_digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="sessions")
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    agent = models.CharField(max_length=300, blank=True)
    address = models.CharField(max_length=64, blank=True)

    data = Data(restricted="*", secret=["key_digest"])
    sync = Sync.LOCAL


class Invitation(Record):
    """A colleague was asked to join, with these roles; the link works once and until it expires."""

    email = models.EmailField(_("e-mail"))
    name = models.CharField(_("name"), max_length=150, blank=True)
    role_codes = models.JSONField(_("roles"), default=list)
    department = models.ForeignKey(Department, models.PROTECT, null=True, blank=True, verbose_name=_("department"))
    invited_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    data = Data(
        internal=["email", "name", "role_codes", "department", "invited_by", "expires_at", "accepted_at"],
        secret=["digest"],
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self):
        return self.email

    def prepare(self, actor, verb):
        """An invitation is sent by ``people.invite`` alone, which checks the roles and mails the link."""
        raise NotAllowed(_("Invitations are sent on the page of the people, and withdrawn by deleting them."))


class SavedView(Record):
    """A list with its filters, sort and columns under a name; its maker's own, or shared with all."""

    user = models.ForeignKey(User, models.PROTECT, related_name="views", verbose_name=_("user"))
    object = ObjectField(_("object"), max_length=80)
    name = models.CharField(_("name"), max_length=80)
    query = models.JSONField(_("what it shows"), default=dict)
    shared = models.BooleanField(_("shared"), default=False)

    data = Data(internal=["user", "object", "name", "query", "shared"])
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")

    def __str__(self):
        return self.name

    def prepare(self, actor, verb):
        """It belongs to whoever makes it, and is of an object that exists."""
        if verb == "add" and actor.user_id is not None:
            self.user_id = actor.user_id
        if registry.get(self.object) is None:
            message = str(_("There is no such object."))
            raise Refused(message, fields={"object": [message]})
