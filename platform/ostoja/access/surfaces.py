"""How users, departments and roles look."""

from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import Surface

from .models import Department, Role, User


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
