"""What a hybrid tenant keeps of its sites: links and their progress, clocks, labels, conflicts, what is parked or absent."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Check, Follows, Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.ids import UUID7_SQL
from ostoja.kernel.record import Record, Thing, verb
from ostoja.party.numbers import SITE

# The series of numbers of this site are told apart by its own number.
MARK_NUMBERS = f"""
IF NEW.here THEN
  INSERT INTO party_counter (id, code, value) VALUES ({UUID7_SQL}, '{SITE}', NEW.number)
  ON CONFLICT (code) DO UPDATE SET value = excluded.value;
END IF;
RETURN NULL;
"""


class Site(Record):
    """An installation on which this tenant lives. ``here`` is the one whose database this is.

    Of this one: ``label_floor`` is the least label version of new records, ``collected_to`` the number up to which graves
    were forgotten, ``adopted`` the manifest that the cloud took over from the premises.
    """

    class Kind(models.TextChoices):
        CLOUD = "cloud", _("Cloud")
        PREMISES = "premises", _("Premises")
        DESKTOP = "desktop", _("Desktop")

    number = models.PositiveSmallIntegerField(_("number"))
    name = models.CharField(_("name"), max_length=120)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    ceiling = models.PositiveSmallIntegerField(_("highest level it may hold"), default=0)
    here = models.BooleanField(_("this installation"), default=False)
    epoch = models.BigIntegerField(_("incarnation"), default=0)
    restored = models.BooleanField(_("restored, and not yet told everything"), default=False)
    retired = models.BooleanField(_("an older copy"), default=False)
    label_floor = models.BigIntegerField(default=0)
    collected_to = models.BigIntegerField(default=0)
    founded = models.BooleanField(_("has what the cloud had before"), default=True)
    withdrawn = models.BooleanField(_("gave up what it may not hold"), default=False)
    adopted = models.BinaryField(default=b"", editable=False)

    data = Data(
        internal=[
            "number", "name", "kind", "ceiling", "here", "epoch", "restored", "retired", "label_floor", "collected_to", "founded", "withdrawn",
            "adopted",
        ]
    )  # fmt: skip
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("site")
        verbose_name_plural = _("sites")
        constraints = [
            models.UniqueConstraint(fields=["number"], name="site_number_is_unique"),
            models.UniqueConstraint(fields=["here"], condition=Q(here=True), name="site_here_is_one"),
            Rule(MARK_NUMBERS, name="site_marks_its_numbers", on="INSERT OR UPDATE"),
        ]

    def __str__(self):
        return self.name


class Link(Record):
    """The line between this site and another. The lower one dials; both sign what they say."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        REVOKED = "revoked", _("Revoked")

    site = models.ForeignKey(Site, models.PROTECT, related_name="links", verbose_name=_("other site"))
    dials = models.BooleanField(_("this site dials"), default=False)
    url = models.CharField(_("address"), max_length=300, blank=True, default="")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    private_key = models.CharField(max_length=100)
    peer_key = models.CharField(_("key of the other site"), max_length=100)
    fingerprint = models.CharField(_("fingerprint in words"), max_length=200, blank=True, default="")
    enrolled_at = models.DateTimeField(_("linked"), auto_now_add=True)

    data = Data(
        internal=["site", "dials", "url", "state", "peer_key", "fingerprint", "enrolled_at"], secret=["private_key"]
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("link")
        verbose_name_plural = _("links")
        constraints = [
            Follows("state", {"open": ["revoked"], "revoked": []}, name="link_follows_its_states"),
            models.UniqueConstraint(fields=["site"], condition=Q(state="open"), name="link_one_open_per_site"),
        ]

    def __str__(self):
        return str(self.site)

    @verb(
        to=State.REVOKED, label=_("Revoke"), icon="ban", tone="danger", confirm=_("Nothing passes this link any more.")
    )
    def revoke(self):
        """Nothing is sent or taken over this link from now on."""


class Progress(Thing):
    """How far a link is. Both streams belong to one pair of incarnations: ``peer_epoch`` theirs, ``own_epoch`` ours.

    Of the peer's stream: ``started``, ``applied``, its resync ends at ``resync_to``; ``knew`` is how far we were before the
    pair began. Of ours: it starts after ``base``, is ``acked``, its resync ends at ``own_resync_to``; ``marks`` and
    ``settled`` are for graves, ``peer_knew`` is how far the peer was before. ``pushes`` and ``pulls`` count the signed
    requests of the site that dials; ``skew_ms`` is the peer's clock minus ours.
    """

    link = models.OneToOneField(Link, models.CASCADE, related_name="progress")
    peer_epoch = models.BigIntegerField(default=0)
    own_epoch = models.BigIntegerField(default=0)
    started = models.BooleanField(default=False)
    applied = models.BigIntegerField(default=0)
    resync_to = models.BigIntegerField(default=0)
    knew = models.BigIntegerField(default=0)
    base = models.BigIntegerField(default=0)
    acked = models.BigIntegerField(default=0)
    own_resync_to = models.BigIntegerField(default=0)
    marks = models.JSONField(default=list)
    settled = models.BigIntegerField(default=0)
    peer_knew = models.BigIntegerField(default=0)
    peer_high = models.BigIntegerField(default=0)
    pushes = models.BigIntegerField(default=0)
    pulls = models.BigIntegerField(default=0)
    peer_manifest = models.BinaryField(default=b"")
    skew_ms = models.IntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(null=True)
    equal_at = models.DateTimeField(null=True)
    equal_root = models.CharField(max_length=32, blank=True, default="")
    problem = models.CharField(max_length=300, blank=True, default="")

    data = Data(
        internal=[
            "link", "peer_epoch", "own_epoch", "started", "applied", "resync_to", "knew", "base", "acked", "own_resync_to", "marks",
            "settled", "peer_knew", "peer_high", "pushes", "pulls", "peer_manifest", "skew_ms", "bytes_in", "bytes_out", "seen_at",
            "equal_at", "equal_root", "problem",
        ]
    )  # fmt: skip
    sync = Sync.LOCAL

    class Meta:
        constraints = [
            Check(Q(acked__gte=0) & Q(applied__gte=0), name="progress_counts_from_zero"),
        ]

    @property
    def loaded(self) -> bool:
        """Whether everything that the peer had when the pair began is here."""
        return self.started and self.applied >= self.resync_to

    @property
    def told(self) -> bool:
        """Whether the peer has everything that we had when the pair began."""
        return self.own_epoch != 0 and self.acked >= self.own_resync_to


class Clock(Thing):
    """The clocks of one record; ``id`` is the record's own. Written by triggers, and by a batch that is applied.

    ``cl`` is the causal length (odd: alive); ``hlc`` and ``site`` are the stamp of all fields but those in ``stamps``
    ({field: [hlc, site, hlc of the base, site of the base]}); ``top`` is the largest of all, so that the next is larger.
    ``label_ver`` is the version of its label; ``withheld`` says that a purge took it from here. ``ships`` is what other
    sites hold of it: {site's number: [holds content, label version, number that ended the first whole batch]}.
    """

    id = models.UUIDField(primary_key=True)
    model = models.CharField(max_length=80)
    cl = models.IntegerField(default=1)
    hlc = models.BigIntegerField()
    site = models.SmallIntegerField()
    stamps = models.JSONField(default=dict)
    top = models.BigIntegerField()
    withheld = models.BooleanField(default=False)
    label_ver = models.BigIntegerField(default=0)
    ships = models.JSONField(default=dict)

    data = Data(internal=["model", "cl", "hlc", "site", "stamps", "top", "withheld", "label_ver", "ships"])
    sync = Sync.LOCAL

    class Meta:
        indexes = [models.Index(fields=["model", "id"], name="clock_by_model")]


class Stash(Thing):
    """What this site still owes of a record that was called back: its own changes, until the premises have them."""

    id = models.UUIDField(primary_key=True)
    model = models.CharField(max_length=80)
    cl = models.IntegerField()
    label_ver = models.BigIntegerField()
    cells = models.JSONField()

    data = Data(internal=["model", "cl", "label_ver"], confidential=["cells"])
    sync = Sync.LOCAL


class Reply(Thing):
    """What the other site is to be told beside the stream: a receipt of a purge, a record that is wanted as a whole."""

    id = models.BigAutoField(primary_key=True)
    link = models.ForeignKey(Link, models.CASCADE, related_name="replies")
    operation = models.JSONField()

    data = Data(internal=["link", "operation"])
    sync = Sync.LOCAL


class Absent(Thing):
    """A reference that can't be kept as such: its record is not here (withheld, deleted, or not yet come).

    The column is empty meanwhile; ``target`` is the record's key, or, when ``alias``, the name that the link gives it.
    """

    record = models.UUIDField()
    model = models.CharField(max_length=80)
    field = models.CharField(max_length=80)
    target = models.UUIDField()
    alias = models.BooleanField(default=False)

    data = Data(internal=["record", "model", "field", "target", "alias"])
    sync = Sync.LOCAL

    class Meta:
        constraints = [models.UniqueConstraint(fields=["record", "field"], name="absent_once_per_field")]
        indexes = [models.Index(fields=["target"], name="absent_by_target")]


class Label(Record):
    """The level of one record (0 open, 1 local, 2 sealed); ``id`` is the record's own. ``inherited`` from what it is a part of."""

    id = models.UUIDField(primary_key=True, editable=False)
    model = models.CharField(_("object"), max_length=80)
    level = models.PositiveSmallIntegerField(_("level"), default=1)
    inherited = models.BooleanField(_("from the record above it"), default=False)

    data = Data(internal=["model", "level", "inherited"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("label")
        verbose_name_plural = _("labels")


class PolicyRule(Record):
    """One decision of the tenant on what may leave its premises. What opens something needs a second person."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("Waits for a second person")
        FORCE = "force", _("In force")
        OVER = "over", _("Withdrawn")

    class About(models.TextChoices):
        CLASS = "class", _("Data class")
        FIELD = "field", _("Field")
        OBJECT = "object", _("Object")

    about = models.CharField(_("about"), max_length=10, choices=About)
    name = models.CharField(_("name"), max_length=160)
    level = models.PositiveSmallIntegerField(_("level"), default=1)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("proposed by")
    )
    approved_by = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approved by")
    )

    data = Data(internal=["about", "name", "level", "state", "proposed_by", "approved_by"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("rule of the policy")
        verbose_name_plural = _("policy")
        constraints = [
            Follows(
                "state", {"proposed": ["force", "over"], "force": ["over"], "over": []},
                name="policy_follows_its_states", start=["proposed", "force"],
            ),
            Check(
                ~Q(state="force") | Q(level__gt=0) | Q(approved_by__isnull=False) & ~Q(approved_by=models.F("proposed_by")),
                name="policy_opens_with_two_people",
                says=_("Opening something needs the approval of a second person."),
            ),
            models.UniqueConstraint(
                fields=["about", "name"], condition=Q(state="force"), name="policy_one_rule_in_force",
                violation_error_message=_("There is a rule for this already: withdraw it first."),
            ),
        ]  # fmt: skip


class Conflict(Record):
    """Two sites wrote the same, or a rule refused what another site wrote: both values, and a way to turn it around."""

    class State(models.TextChoices):
        OPEN = "open", _("To decide")
        OURS = "ours", _("Ours kept")
        THEIRS = "theirs", _("Theirs taken")

    about = models.CharField(_("object"), max_length=80)
    record = models.UUIDField(_("record"))
    field = models.CharField(_("field"), max_length=80, blank=True)
    rule = models.CharField(_("rule that applied"), max_length=80)
    ours = models.JSONField(_("our value"), null=True, blank=True)
    theirs = models.JSONField(_("their value"), null=True, blank=True)
    site = models.ForeignKey(Site, models.PROTECT, verbose_name=_("other site"))
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("owner")
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)

    data = Data(
        internal=["about", "record", "field", "rule", "site", "owner", "state"],
        confidential=["ours", "theirs", "reason"],
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("conflict")
        verbose_name_plural = _("conflicts")
        constraints = [
            Follows("state", {"open": ["ours", "theirs"], "ours": [], "theirs": []}, name="conflict_follows_its_states")
        ]

    @verb(to=State.OURS, label=_("Keep ours"), icon="check")
    def keep_ours(self):
        """Our value becomes the latest, on all sites."""
        from .resolving import write

        write(self, self.ours)

    @verb(to=State.THEIRS, label=_("Take theirs"), icon="arrow-left-right")
    def take_theirs(self):
        """Their value becomes the latest, on all sites."""
        from .resolving import write

        write(self, self.theirs)


class Parked(Record):
    """What came from another site and can't be applied yet; it is tried again, and blocks nothing else."""

    link = models.ForeignKey(Link, models.PROTECT, verbose_name=_("link"))
    about = models.CharField(_("object"), max_length=80)
    record = models.UUIDField(_("record"))
    operation = models.JSONField(_("operation"))
    reason = models.CharField(_("reason"), max_length=300)
    attempts = models.PositiveIntegerField(_("attempts"), default=1)

    data = Data(internal=["link", "about", "record", "attempts"], confidential=["operation", "reason"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("parked change")
        verbose_name_plural = _("parked changes")
        constraints = [models.UniqueConstraint(fields=["link", "record"], name="parked_once_per_record")]


class PurgeCase(Record):
    """One record that was called back from another site: when it was told, when its content was gone there, and until when
    backups may hold it."""

    link = models.ForeignKey(Link, models.PROTECT, verbose_name=_("link"))
    about = models.CharField(_("object"), max_length=80)
    record = models.UUIDField(_("record"))
    label_ver = models.BigIntegerField()
    sent_at = models.DateTimeField(_("told"), null=True, blank=True)
    gone_at = models.DateTimeField(_("gone from the other site"), null=True, blank=True)
    backups_until = models.DateField(_("gone from backups"), null=True, blank=True)

    data = Data(internal=["link", "about", "record", "label_ver", "sent_at", "gone_at", "backups_until"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("purge")
        verbose_name_plural = _("purges")


class EnrolmentCode(Thing):
    """A one-time code by which a site joins, known by its digest."""

    digest = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=10, choices=Site.Kind)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    data = Data(internal=["kind", "expires_at", "used_at"], secret=["digest"])
    sync = Sync.LOCAL
