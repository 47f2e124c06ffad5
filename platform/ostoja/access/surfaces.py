"""How users, departments, roles, tokens, invitations and saved views look, and over whose a role may say something."""

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Surface

from .models import ApiToken, Department, Invitation, Role, SavedView, User, UserRole


@surface(User)
class UserSurface(Surface):
    slug = "users"
    icon = "user"
    group = "settings"
    order = 10
    title = "name"
    list = ["name", "email", "department", "is_active"]
    sort = ["name"]
    form = [("name", "email"), ("department", "language")]
    search = ["name", "email"]
    filters = ["department", "is_active"]
    natural_key = ["email"]
    history = ["is_active"]
    scopes = {"own": Q(id=ACTOR), "team": Q(department__in=ACTOR.departments)}


@surface(Department)
class DepartmentSurface(Surface):
    slug = "departments"
    icon = "network"
    group = "settings"
    order = 20
    title = "name"
    list = ["name", "parent"]
    sort = ["name"]
    form = ["name", "parent"]
    search = ["name"]
    filters = ["parent"]
    natural_key = ["name"]


@surface(Role)
class RoleSurface(Surface):
    slug = "roles"
    icon = "shield"
    group = "settings"
    order = 30
    title = "name"
    list = ["name", "code", "level", "classes"]
    sort = ["level", "name"]
    form = [(_("Role"), ["name", "code", "level"]), (_("Rights"), ["grants", "classes"])]
    search = ["name", "code"]
    natural_key = ["code"]


@surface(UserRole)
class UserRoleSurface(Surface):
    slug = "held-roles"
    icon = "user-check"
    inside = "user"
    title = "role"
    list = ["user", "role"]
    form = [("user", "role")]
    filters = ["user", "role"]
    natural_key = ["user", "role"]


@surface(ApiToken)
class ApiTokenSurface(Surface):
    slug = "tokens"
    icon = "key-round"
    title = "name"
    list = ["name", "prefix", "user", "scopes", "expires_at", "revoked_at"]
    search = ["name"]
    filters = ["user", "expires_at", "revoked_at"]
    scopes = {"own": Q(user=ACTOR)}


@surface(Invitation)
class InvitationSurface(Surface):
    slug = "invitations"
    icon = "mail"
    title = "email"
    list = ["email", "name", "role_codes", "department", "invited_by", "expires_at", "accepted_at"]
    search = ["email", "name"]
    filters = ["invited_by", "accepted_at"]
    scopes = {"own": Q(invited_by=ACTOR)}


@surface(SavedView)
class SavedViewSurface(Surface):
    slug = "views"
    icon = "bookmark"
    title = "name"
    list = ["name", "object", "user", "shared"]
    sort = ["object", "name"]
    form = [("name", "object"), "query", "shared"]
    search = ["name"]
    filters = ["object", "user", "shared"]
    natural_key = ["object", "name"]
    scopes = {"own": Q(user=ACTOR), "shared": Q(user=ACTOR) | Q(shared=True)}
