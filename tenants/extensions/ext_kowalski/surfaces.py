"""How sample loans look."""

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Board, Calendar, Surface

from .models import SampleLoan


@surface(SampleLoan)
class SampleLoanSurface(Surface):
    slug = "sample-loans"
    icon = "book-open"
    group = "crm"
    order = 90
    title = "book"
    subtitle = ["party"]
    list = ["book", "party", "state", "lent_on", "due_on", "owner"]
    sort = ["due_on"]
    form = [("book", "party"), ("lent_on", "due_on"), ("value", "owner"), (_("Write-off"), ["reason"])]
    search = ["book", "party__name"]
    filters = ["state", "party", "owner", "due_on"]
    board = Board("state", total="value")
    calendar = Calendar("due_on")
    scopes = {"own": Q(owner=ACTOR), "team": Q(owner=ACTOR) | Q(owner__department__in=ACTOR.departments)}
    natural_key = ["book", "party", "lent_on"]
    history = ["state", "back_on"]
    badges = {"lent": "blue", "returned": "green", "written_off": "red"}
