"""An import run, its errors, a saved mapping and an export run: what people see of exchange."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ostoja.access.policy import must
from ostoja.jobs.models import Job
from ostoja.jobs.queue import cancel, queue
from ostoja.kernel import registry
from ostoja.kernel.constraints import Check, Follows, Frozen
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.errors import Refused
from ostoja.kernel.fields import ObjectField
from ostoja.kernel.record import Record, Thing, verb

from . import mapping as mappings

KEPT_FOR = timedelta(hours=24)
COUNTS = ("rows", "created", "updated", "unchanged", "skipped", "failed")


class ImportRun(Record):
    """One file on its way into one object: from the upload to the last row, and back again if it is undone.

    ``columns`` are the names in the file's header; ``mapping`` says where they go (see ``mapping.py``); ``whole`` is all
    or nothing; the counts are of rows; ``result`` keeps what a check or an undo found out. Every change that it makes has
    its id as the cause in the journal.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Being prepared")
        CHECKING = "checking", _("Being checked")
        CHECKED = "checked", _("Checked")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        STOPPED = "stopped", _("Stopped")
        UNDOING = "undoing", _("Being undone")
        UNDONE = "undone", _("Undone")

    class Mode(models.TextChoices):
        ADD = "add", _("Add new records")
        UPDATE = "update", _("Change records that are there")
        UPSERT = "upsert", _("Change what is there, add the rest")

    object = ObjectField(_("object"), max_length=80, editable=False)
    name = models.CharField(_("name"), max_length=200)
    file_name = models.CharField(_("file"), max_length=200, editable=False)
    file_key = models.CharField(max_length=200, editable=False)
    file_size = models.PositiveBigIntegerField(_("size in bytes"), editable=False)
    file_digest = models.CharField(max_length=64, editable=False)
    format = models.CharField(_("format"), max_length=8, editable=False)
    columns = models.JSONField(_("columns in the file"), default=list, editable=False)
    options = models.JSONField(_("how the file is read"), default=dict, blank=True)
    mapping = models.JSONField(_("mapping"), default=dict, blank=True)
    mode = models.CharField(_("what to do"), max_length=8, choices=Mode, default=Mode.ADD)
    whole = models.BooleanField(_("all or nothing"), default=False)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    rows = models.PositiveIntegerField(_("rows"), default=0, editable=False)
    created = models.PositiveIntegerField(_("created"), default=0, editable=False)
    updated = models.PositiveIntegerField(_("changed"), default=0, editable=False)
    unchanged = models.PositiveIntegerField(_("unchanged"), default=0, editable=False)
    skipped = models.PositiveIntegerField(_("skipped"), default=0, editable=False)
    failed = models.PositiveIntegerField(_("refused"), default=0, editable=False)
    result = models.JSONField(_("result"), default=dict, editable=False)
    job_id = models.UUIDField(null=True, editable=False)
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, related_name="imports", verbose_name=_("started by"), editable=False
    )
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)

    data = Data(
        internal=["object", "name", "file_name", "file_size", "format", "mode", "whole", "state", *COUNTS, "job_id", "owner", "finished_at",
                  "options", "columns", "mapping", "result"],
        confidential=["file_digest"],
        secret=["file_key"],
        keep="2 years after finished_at",
    )  # fmt: skip
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        constraints = [
            Follows(
                "state",
                {
                    "draft": ["checking", "running"],
                    "checking": ["checked", "draft", "failed"],
                    "checked": ["draft", "checking", "running"],
                    "running": ["done", "failed", "stopped"],
                    "failed": ["draft", "running", "undoing"],
                    "stopped": ["running", "undoing"],
                    "done": ["undoing"],
                    "undoing": ["undone", "done"],
                    "undone": [],
                },
                name="import_follows_its_states",
            ),
            Frozen(
                when=Q(state__in=["running", "done", "stopped", "undoing", "undone"]),
                free=["state", "name", *COUNTS, "result", "job_id", "finished_at"],
                name="import_is_frozen_once_it_ran",
                says=_("An import that has run can't be changed any more; start a new one."),
            ),
            Check(
                ~Q(object="") & ~Q(file_key=""),
                name="import_has_a_file",
                says=_("An import starts with a file: upload one."),
            ),
        ]

    def __str__(self):
        return self.name

    @property
    def entry(self) -> registry.Entry:
        """The object that the file goes into. Raises Refused when the object is gone."""
        entry = registry.get(self.object)
        if entry is None:
            raise Refused(_("There is no object “{label}” here any more.").format(label=self.object))
        return entry

    @property
    def job(self) -> Job | None:
        """The job that works on it, or did last."""
        return Job.objects.filter(pk=self.job_id).first() if self.job_id else None

    def clean(self):
        """A mapping that can't be understood is refused at once."""
        if self.mapping:
            try:
                mappings.parse(self.mapping)
            except Refused as error:
                raise ValidationError({"mapping": [error.message]}) from error
        if not isinstance(self.options, dict):
            raise ValidationError({"options": [_("An object is expected.")]})

    @verb(to=State.CHECKING, label=_("Check"), icon="list-checks")
    def dry_run(self):
        """Do it all and take it back: every error by row and column, and nothing written."""

    @verb(to=State.RUNNING, label=_("Import"), icon="upload", tone="primary")
    def run(self):
        """Bring the rows in; a stopped or failed run goes on where it was."""

    @verb(
        label=_("Stop"),
        icon="square",
        confirm=_("The rows that are in stay in; the import can go on later or be undone."),
    )
    def stop(self):
        """Stop at the next safe point."""

    @verb(to=State.UNDOING, label=_("Undo"), icon="undo-2", tone="danger",
          confirm=_("What it created is deleted, what it changed gets its old values back."))  # fmt: skip
    def undo(self):
        """Take the whole import back; what was changed since is left and listed."""

    @verb(to=State.DRAFT, label=_("Change the mapping"), icon="pencil")
    def reopen(self):
        """Back to the drawing board."""

    def settled(self, actor, verb, changed):
        """The work itself is a job's, once the change is committed."""
        job_of = {"dry_run": "exchange.check", "run": "exchange.import", "undo": "exchange.undo"}
        if verb == "stop":
            if self.job is not None:
                cancel(self.job)
            return
        if verb not in job_of:
            return
        must(actor, self.entry, "import")
        if verb != "undo" and not self.mapping.get("columns"):
            raise Refused(_("Say first where the columns go."), fields={"mapping": [_("It is empty.")]})
        self.job_id = queue(actor, job_of[verb], str(self.name), run=str(self.pk)).pk
        type(self).objects.filter(pk=self.pk).update(job_id=self.job_id)


class RowError(Thing):
    """One thing that is wrong with one row of a file; ``column`` is empty when it is the whole row."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(ImportRun, models.CASCADE, related_name="errors")
    row = models.PositiveIntegerField()
    column = models.CharField(max_length=200, blank=True)
    value = models.CharField(max_length=200, blank=True)
    message = models.CharField(max_length=500)

    data = Data(confidential="*", keep="2 years")
    sync = Sync.LOCAL


class SavedMapping(Record):
    """A mapping under a name, offered again when a file with the same columns comes."""

    object = ObjectField(_("object"), max_length=80)
    name = models.CharField(_("name"), max_length=120)
    mapping = models.JSONField(_("mapping"))
    columns = models.JSONField(_("columns in the file"), default=list)
    options = models.JSONField(_("how the file is read"), default=dict, blank=True)
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("owner")
    )

    data = Data(internal=["object", "name", "mapping", "columns", "options", "owner"])
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("saved mapping")
        verbose_name_plural = _("saved mappings")
        constraints = [
            models.UniqueConstraint(
                fields=["object", "name"],
                name="mapping_name_is_unique",
                violation_error_message=_("There is a mapping of this name for this object."),
            )
        ]

    def __str__(self):
        return self.name

    def clean(self):
        """A mapping that can't be understood is refused."""
        try:
            mappings.parse(self.mapping)
        except Refused as error:
            raise ValidationError({"mapping": [error.message]}) from error


class ExportRun(Record):
    """Records of one object as a file, made in the background and kept for a day for whoever asked."""

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        DONE = "done", _("Ready")
        FAILED = "failed", _("Failed")
        GONE = "gone", _("Deleted")

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "XLSX"

    object = ObjectField(_("object"), max_length=80, editable=False)
    name = models.CharField(_("name"), max_length=200, editable=False)
    query = models.JSONField(_("query"), default=dict, editable=False)
    format = models.CharField(_("format"), max_length=8, choices=Format, default=Format.CSV, editable=False)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.RUNNING, editable=False)
    rows = models.PositiveIntegerField(_("rows"), default=0, editable=False, validators=[MinValueValidator(0)])
    file_key = models.CharField(max_length=200, blank=True, editable=False)
    file_size = models.PositiveBigIntegerField(_("size in bytes"), default=0, editable=False)
    job_id = models.UUIDField(null=True, editable=False)
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, related_name="exports", verbose_name=_("asked by"), editable=False
    )
    expires_at = models.DateTimeField(_("kept until"), null=True, editable=False)

    data = Data(
        internal=["object", "name", "query", "format", "state", "rows", "file_size", "job_id", "owner", "expires_at"],
        secret=["file_key"],
        keep="1 year",
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("export")
        verbose_name_plural = _("exports")
        constraints = [
            Follows(
                "state",
                {"running": ["done", "failed"], "failed": ["running"], "done": ["gone"], "gone": []},
                name="export_follows_its_states",
            ),
            Check(~Q(object=""), name="export_has_an_object", says=_("Say what to export.")),
        ]

    def __str__(self):
        return self.name

    @property
    def ready(self) -> bool:
        """Whether the file may be fetched now."""
        return self.state == self.State.DONE and self.expires_at is not None and self.expires_at > timezone.now()
