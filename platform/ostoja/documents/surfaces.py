"""How files look: parts of the record that they are attached to; a name can be changed, the bytes can't."""

from django.utils.translation import gettext_lazy as _

from ostoja.catalog.surfaces import ProductSurface
from ostoja.crm.sales.surfaces import DealSurface
from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import Panel, Surface
from ostoja.party.surfaces import PartySurface
from ostoja.planning.surfaces import ActivitySurface

from .models import ActivityFile, DealFile, PartyFile, ProductFile


class FileSurface(Surface):
    """What all kinds of files have in common. Files come in by upload only, never as a row."""

    icon = "paperclip"
    title = "name"
    form = ["name"]
    search = ["name"]


@surface(PartyFile)
class PartyFileSurface(FileSurface):
    slug = "party-files"
    inside = "party"
    list = ["name", "party", "size", "mime", "uploaded_by"]
    filters = ["party"]


@surface(DealFile)
class DealFileSurface(FileSurface):
    slug = "deal-files"
    inside = "deal"
    list = ["name", "deal", "size", "mime", "uploaded_by"]
    filters = ["deal"]


@surface(ProductFile)
class ProductFileSurface(FileSurface):
    slug = "product-files"
    inside = "product"
    list = ["name", "product", "size", "mime", "uploaded_by"]
    filters = ["product"]


@surface(ActivityFile)
class ActivityFileSurface(FileSurface):
    slug = "activity-files"
    inside = "activity"
    list = ["name", "activity", "size", "mime", "uploaded_by"]
    filters = ["activity"]


for holder in (PartySurface, DealSurface, ProductSurface, ActivitySurface):
    holder.panels = (*holder.panels, Panel("attachments", _("Files")))
