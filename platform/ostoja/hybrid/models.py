"""What a hybrid tenant keeps of its sites: links and their progress, clocks, labels, conflicts, what is parked or absent."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ostoja.kernel.constraints import Check, Follows, Frozen, Rule
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

# Who may see a sealed record is forgotten as soon as it is not sealed by itself any more.
FORGET_INSIDERS = """
IF NEW.level < 2 OR NEW.root IS NOT NULL THEN DELETE FROM hybrid_insider WHERE label_id = NEW.id; END IF;
RETURN NULL;
"""

# Whoever opens the record at this moment is waited for, or waits and forgets this row as well.
OF_A_SEALED_RECORD = """
PERFORM FROM hybrid_label l WHERE l.id = NEW.label_id AND l.level = 2 AND l.root IS NULL FOR SHARE;
IF NOT FOUND THEN {refuse} END IF;
RETURN NEW;
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
    browser_url = models.CharField(_("address for browsers"), max_length=300, blank=True, default="")
    restored = models.BooleanField(_("restored, and not yet told everything"), default=False)
    retired = models.BooleanField(_("an older copy"), default=False)
    label_floor = models.BigIntegerField(default=0)
    collected_to = models.BigIntegerField(default=0)
    founded = models.BooleanField(_("has what the cloud had before"), default=True)
    withdrawn = models.BooleanField(_("gave up what it may not hold"), default=False)
    adopted = models.TextField(_("manifest taken over"), blank=True, default="", editable=False)

    data = Data(
        internal=[
            "number", "name", "kind", "ceiling", "here", "epoch", "browser_url", "restored", "retired", "label_floor",
            "collected_to", "founded", "withdrawn", "adopted",
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
        LOCKED = "locked", _("Locked")
        REVOKED = "revoked", _("Revoked")

    site = models.ForeignKey(Site, models.PROTECT, related_name="links", verbose_name=_("other site"))
    dials = models.BooleanField(_("this site dials"), default=False)
    url = models.CharField(_("address"), max_length=300, blank=True, default="")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    private_key = models.CharField(max_length=100)
    peer_key = models.CharField(_("key of the other site"), max_length=100)
    fingerprint = models.CharField(_("fingerprint in words"), max_length=200, blank=True, default="")
    enrolled_at = models.DateTimeField(_("linked"), auto_now_add=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True, default="")

    data = Data(
        internal=["site", "dials", "url", "state", "peer_key", "fingerprint", "enrolled_at", "reason"],
        secret=["private_key"],
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("link")
        verbose_name_plural = _("links")
        constraints = [
            Follows(
                "state", {"open": ["locked", "revoked"], "locked": ["open", "revoked"], "revoked": []},
                name="link_follows_its_states",
            ),
            models.UniqueConstraint(fields=["site"], condition=Q(state="open"), name="link_one_open_per_site"),
        ]  # fmt: skip

    def __str__(self):
        return str(self.site)

    @verb(label=_("Change the keys"), icon="key-round")
    def rotate(self):
        """Both sites take new keys at the next exchange; the old ones are valid until the new ones were used."""
        from .rotating import want_new_keys

        want_new_keys(self)

    @verb(
        to=State.OPEN, label=_("Open again"), icon="lock-open",
        confirm=_("Only when the other copy of the site is switched off. Both sites take new keys at once."),
    )  # fmt: skip
    def reopen(self):
        """A locked link works again, with new keys."""
        from .rotating import want_new_keys

        self.reason = ""
        want_new_keys(self)

    @verb(
        to=State.REVOKED, label=_("Revoke"), icon="ban", tone="danger",
        confirm=_("Nothing passes this link any more, and it can't be opened again. What each site has stays there."),
    )  # fmt: skip
    def revoke(self):
        """Nothing is sent or taken over this link from now on."""


class LinkUse(Thing):
    """How a link is used: its keys as they change, the last signed requests, the traffic of the day, and what is wrong.

    ``generation`` counts the keys of the site that dials, ``since`` is when the present ones came; ``wanted`` asks for new
    ones, ``next_private_key`` and ``next_peer_key`` are on their way, ``past_peer_key`` is no longer valid.
    ``pushed_at``, ``pulled_at`` and ``carried_at`` are the moments of the last requests, in seconds; ``incarnation`` is that of the site
    that dials, ``past_incarnations`` are those before. ``behind_since`` is when the other site first had more than we took.
    """

    link = models.OneToOneField(Link, models.CASCADE, related_name="use")
    generation = models.PositiveIntegerField(default=1)
    since = models.DateTimeField(default=timezone.now)
    wanted = models.BooleanField(default=False)
    next_private_key = models.CharField(max_length=100, blank=True, default="")
    next_peer_key = models.CharField(max_length=100, blank=True, default="")
    past_peer_key = models.CharField(max_length=100, blank=True, default="")
    incarnation = models.BigIntegerField(default=0)
    past_incarnations = ArrayField(models.BigIntegerField(), default=list)
    pushed_at = models.BigIntegerField(default=0)
    pulled_at = models.BigIntegerField(default=0)
    carried_at = models.BigIntegerField(default=0)
    behind_since = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    day_in = models.BigIntegerField(default=0)
    day_out = models.BigIntegerField(default=0)
    trouble = models.CharField(max_length=40, blank=True, default="")
    trouble_words = models.CharField(max_length=300, blank=True, default="")
    trouble_lane = models.CharField(max_length=8, blank=True, default="")
    trouble_at = models.DateTimeField(null=True)

    data = Data(
        internal=[
            "link", "generation", "since", "wanted", "next_peer_key", "past_peer_key", "incarnation", "past_incarnations",
            "pushed_at", "pulled_at", "carried_at", "behind_since", "day", "day_in", "day_out", "trouble", "trouble_words",
            "trouble_lane", "trouble_at",
        ],
        secret=["next_private_key"],
    )  # fmt: skip
    sync = Sync.LOCAL


class Progress(Thing):
    """How far a link is. Both streams belong to one pair of incarnations: ``peer_epoch`` theirs, ``own_epoch`` ours.

    Of the peer's stream: ``started``, ``applied``, its resync ends at ``resync_to``; ``knew`` is how far we were before the
    pair began. Of ours: it starts after ``base``, is ``acked``, its resync ends at ``own_resync_to``; ``marks`` and
    ``settled`` are for graves, ``peer_knew`` is how far the peer was before. ``pushes``, ``pulls`` and ``carries`` count the signed
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
    carries = models.BigIntegerField(default=0)
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
            "settled", "peer_knew", "peer_high", "pushes", "pulls", "carries", "peer_manifest", "skew_ms", "bytes_in", "bytes_out", "seen_at",
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
    """The level of one record (0 open, 1 local, 2 sealed); ``id`` is the record's own. ``inherited`` from what it is a part of.

    ``root`` is the record whose mark this one follows; empty for a mark of its own.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    model = models.CharField(_("object"), max_length=80)
    level = models.PositiveSmallIntegerField(_("level"), default=1)
    inherited = models.BooleanField(_("from the record above it"), default=False)
    root = models.UUIDField(_("record that is marked"), null=True, blank=True)

    data = Data(internal=["model", "level", "inherited", "root"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("label")
        verbose_name_plural = _("labels")
        constraints = [Rule(FORGET_INSIDERS, name="label_forgets_its_insiders", on="UPDATE")]
        indexes = [models.Index(fields=["model"], name="label_sealed", condition=Q(level=2))]


class Insider(Record):
    """A person who may see one sealed record: whoever sealed it (``sealer``), and those who were named since."""

    label = models.ForeignKey(
        Label, models.PROTECT, related_name="insiders", verbose_name=_("sealed record"), db_index=False
    )
    user = models.ForeignKey("access.User", models.PROTECT, related_name="+", verbose_name=_("person"))
    sealer = models.BooleanField(_("sealed it"), default=False)

    data = Data(internal=["label", "user", "sealer"])
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("person let in")
        verbose_name_plural = _("people let in")
        constraints = [
            models.UniqueConstraint(
                fields=["label", "user"], name="insider_is_named_once",
                violation_error_message=_("This person may see it already."),
            ),
            Rule(
                OF_A_SEALED_RECORD, name="insider_is_of_a_sealed_record", on="INSERT OR UPDATE", timing="BEFORE",
                says=_("This is not sealed, so nobody has to be let in."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return str(self.user)


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

    class Level(models.IntegerChoices):
        OPEN = 0, pgettext_lazy("level", "Open")
        LOCAL = 1, _("Stays here")

    about = models.CharField(_("about"), max_length=10, choices=About)
    name = models.CharField(_("name"), max_length=160)
    level = models.PositiveSmallIntegerField(
        _("level"), choices=Level, default=Level.LOCAL,
        error_messages={
            "invalid_choice": _("A level is 0 (open) or 1 (stays here). Sealing is for single records: mark the record.")
        },
    )  # fmt: skip
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("proposed by")
    )
    approved_by = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approved by")
    )

    data = Data(internal=["about", "name", "level", "state", "proposed_by", "approved_by"])
    sync = Sync.LOCAL
    only_rejected = False  # it was a proposal until now: nothing that travels changes

    class Meta:
        verbose_name = _("rule of the policy")
        verbose_name_plural = _("policy")
        constraints = [
            Follows(
                "state", {"proposed": ["force", "over"], "force": ["over"], "over": []},
                name="policy_follows_its_states", start=["proposed", "force"],
            ),
            Check(
                ~Q(state="force") | Q(level__gt=0)
                | Q(approved_by__isnull=False) & Q(proposed_by__isnull=False) & ~Q(approved_by=models.F("proposed_by")),
                name="policy_opens_with_two_people",
                says=_("Opening something needs the approval of a second person."),
            ),
            Frozen(
                when=Q(state__in=["proposed", "force", "over"]), free=["state", "approved_by"], name="policy_stays_as_proposed",
                says=_("A decision is not changed: withdraw it and make another."),
            ),
            Frozen(
                when=Q(state__in=["force", "over"]), free=["state"], name="policy_decided_stays",
                says=_("A decision is not changed: withdraw it and make another."),
            ),
            models.UniqueConstraint(
                fields=["about", "name"], condition=Q(state="force"), name="policy_one_rule_in_force",
                violation_error_message=_("There is a rule for this already: withdraw it first."),
            ),
        ]  # fmt: skip

    def __str__(self):
        from .policing import said

        return said(self.about, self.name)

    def get_level_display(self):
        """The level in words. Rules of before may say 2 (sealed), which of more than a single record means that it stays here."""
        return str(self.Level(min(self.level, self.Level.LOCAL)).label)

    def prepare(self, actor, verb):
        """Only owners decide; what can be opened at all, and by whom, is decided in ``policing``."""
        from .policing import prepare

        prepare(self, actor, verb)

    def settled(self, actor, verb, changed):
        """What came into force, or is over, changes what may travel."""
        from .policing import settled

        settled(self, actor)

    @verb(
        to=State.FORCE,
        label=_("Approve"),
        icon="check",
        tone="success",
        confirm=_("It leaves the premises from now on."),
    )
    def approve(self):
        """A second owner agrees: the rule is in force, and what it opens leaves the premises."""

    @verb(to=State.OVER, label=_("Withdraw"), icon="undo-2", confirm=_("What the code says counts again."))
    def withdraw(self):
        """Reject a proposal, or end a rule: what the code or another rule says counts again."""


class Conflict(Record):
    """Two sites wrote the same, or a rule refused what another site wrote: both values, and a way to turn it around."""

    class State(models.TextChoices):
        OPEN = "open", _("To decide")
        OURS = "ours", _("Ours kept")
        THEIRS = "theirs", _("Theirs taken")
        SETTLED = "settled", _("Settled")

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
    theirs_by = models.CharField(_("written there by"), max_length=60, blank=True, default="")
    theirs_at = models.DateTimeField(_("written there"), null=True, blank=True)

    # The values are of fields of any class, of records of any scope: they are told by `disputes` alone.
    data = Data(
        internal=["about", "record", "field", "rule", "site", "owner", "state", "theirs_by", "theirs_at"],
        secret=["ours", "theirs", "reason"],
    )
    sync = Sync.LOCAL

    class Meta:
        verbose_name = _("conflict")
        verbose_name_plural = _("conflicts")
        constraints = [
            Follows(
                "state", {"open": ["ours", "theirs", "settled"], "ours": [], "theirs": [], "settled": []},
                name="conflict_follows_its_states",
            )
        ]  # fmt: skip
        indexes = [models.Index(fields=["record"], name="conflict_open", condition=Q(state="open"))]

    def __str__(self):
        from .disputes import said

        return said(self)

    @verb(to=State.OURS, label=_("Keep ours"), icon="check")
    def keep_ours(self):
        """Our value becomes the latest, on all sites."""

    @verb(to=State.THEIRS, label=_("Take theirs"), icon="arrow-left-right")
    def take_theirs(self):
        """Their value becomes the latest, on all sites."""

    @verb(to=State.SETTLED, label=_("Leave it as it is"), icon="circle-check")
    def settle(self):
        """Nothing is written; it is no conflict any more."""

    def settled(self, actor, verb, changed):
        """What was decided is written under the rights of whoever decides."""
        from .resolving import decide

        decide(self, actor, verb)


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


class Parcel(Thing):
    """What the cloud knows of the bytes of a file; ``id`` is the file record's own. ``there``: the premises hold them.

    Bytes that are not there yet stay under ``key`` when their record leaves the cloud, until the premises have fetched them.
    """

    id = models.UUIDField(primary_key=True)
    model = models.CharField(max_length=80)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    key = models.CharField(max_length=120)
    there = models.BooleanField(default=False)

    data = Data(internal=["model", "there"], confidential=["sha256", "size"], secret=["key"])
    sync = Sync.LOCAL


class EnrolmentCode(Thing):
    """A one-time code by which a site joins, known by its digest."""

    digest = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=10, choices=Site.Kind)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    data = Data(internal=["kind", "expires_at", "used_at"], secret=["digest"])
    sync = Sync.LOCAL
