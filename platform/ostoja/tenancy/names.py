"""Which addresses a tenant may have: well formed, not reserved, and not to be mistaken for another's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from confusable_homoglyphs import confusables
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.kernel.errors import Refused

from .context import platform_context
from .models import Domain, HeldName, Tenant

SHORTEST, LONGEST = 3, 40
LONG_ENOUGH_TO_SLIP = 8  # a letter added, dropped or swapped with its neighbour is easily overlooked from here on
LONG_ENOUGH_TO_DIFFER = 12  # one letter that is another, from here on

RESERVED = frozenset(
    """
    about abuse access account activate activity ad admin administration administrator admiral advertising affiliate alert
    alias analytic android anonymous answer api app apple application archive asset atom audit auth authenticate
    authentication autoconfig autodiscover avatar backend backup badge banner beta bill billing blog board bot broadcast
    brand bucket business calendar callback campaign canary cancel career cart catalog category cdn certificate changelog
    channel chat check checkout client cloud code comment commerce community company compare compliance config
    configuration connect console contact contest contract contributor control cookie copyright core corp count crash
    create credential crm cron css customer cyber dashboard data database db debug default delete demonstration deploy
    design desktop dev devel developer development device diagram dict directory disk dns doc document documentation domain
    download draft drive driver dummy edit editor edu education email embed employment enterprise entry erp error event
    everyone example exchange explore export extension extranet facebook faq fax featured feed feedback file finance
    firewall first follow font footer form forum free friend ftp game gateway general gift git github gitlab gmail god
    google gpg graph graphql group guest guide header health healthz help helpdesk hidden home homepage host hosting
    hostmaster howto html http httpd https icon identity imap image img import inbox index info information
    information-schema instagram install instance integration internal internet intranet inventory investor invite
    invitation invoice ios ip ipv4 ipv6 irc isatap issue it item java javascript job join journal js json kernel keybase
    language law ldap learn legal library license link linkedin list live livechat load local localdomain localhost log
    login logout logon lost mail mailer mailer-daemon mailerdaemon mailbox main maintenance manage management manager
    manual map market marketing marketplace master me media meeting member message metric microsoft migrate mirror
    mobile moderator money monitor monitoring moved music mx mysql name named nameserver net network new news newsletter
    no-reply nobody node noc none noreply notification notify ns null oauth offer official onboarding online open
    openapi openid operation operator order organisation organization origin ostoja overview owner page partner party
    passkey passwd password patch pay payment payroll paypal people person phone photo php ping plan platform plugin
    policy pop pop3 popular portal portfolio post postfix postgres postgresql postmaster premium press preview price
    pricing print privacy private private-cloud prod product production profile project promo proxy public purchase push
    qa query queue random readme readyz recover recovery redirect redis refund register registration release remote
    remove reply report request reset resource restore resume return review rfc root router rss rule sale sales sample
    sandbox scheme school script search secret secure security server service session setting setup shared shop sign
    signin signout signup site sitemap slack smtp social software source spam sport sql ssh ssl ssladmin
    ssladministrator sslwebmaster staff stage staging stat state static statistic status statuspage stop storage store
    stream style stylesheet sub subdomain subscribe subscription sudo super superuser supervisor support survey svn sync
    sys sysadmin sysadministrator system tag team tech telnet template temporary tenant term test tester testing theme
    ticket tip tls token tool topic tour tracking trade trademark traffic training translate translation trial trust
    tutorial twitter undefined unsubscribe update upgrade upload uptime url usage usenet user username uucp validate
    verify version video view visitor voice void vpn wallet warehouse watch web webapp webhook webmail webmaster website
    webserver whois widget wiki windows work worker workspace worldwide wpad write ws www www1 www2 www3 x xml xmpp xsl
    you your yourself zone
    """.split()
)

FOLDS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
DIGITS = str.maketrans(
    {
        "0": "o",
        "1": "l",
        "2": "z",
        "3": "e",
        "4": "a",
        "5": "s",
        "6": "b",
        "7": "t",
        "8": "b",
        "9": "g",
        "i": "l",
    }
)


def tidy(text: str) -> str:
    """The address as it is compared and kept: without space around it, in lower case, in normal form."""
    return unicodedata.normalize("NFKC", str(text)).strip().lower()


def latin(text: str) -> str:
    """The text with letters of other alphabets and accents replaced by the Latin ones that they look like."""
    if text.isascii():
        return text
    out = []
    for char in unicodedata.normalize(
        "NFKD", text.replace("ł", "l").replace("ø", "o").replace("đ", "d").replace("ß", "ss")
    ):
        if unicodedata.combining(char):
            continue
        if not char.isascii():
            found = confusables.is_confusable(char, greedy=True, preferred_aliases=["latin"]) or []
            likes = [h["c"] for entry in found for h in entry["homoglyphs"] if h["c"].isascii() and h["c"].isalnum()]
            char = likes[0].lower() if likes else ""
        out.append(char)
    return "".join(out)


def skeleton(text: str) -> str:
    """What the eye keeps of an address: two addresses with one skeleton can be mistaken for each other."""
    folded = re.sub(r"[^a-z0-9]", "", latin(tidy(text)))
    for pair, single in FOLDS:
        folded = folded.replace(pair, single)
    return folded.translate(DIGITS)


def suggest(text: str) -> str:
    """A well-formed address made of a company's name; it may be taken."""
    words = re.sub(r"[^a-z0-9]+", "-", latin(tidy(text))).strip("-")
    words = re.sub(r"-{2,}", "-", words)[:LONGEST].strip("-")
    return words if words and not words.isdigit() and len(words) >= SHORTEST else ""


def complaint(slug: str) -> str | None:
    """What is wrong with the form of an address, in a sentence, or None."""
    if not slug:
        return _("Choose an address.")
    if len(slug) < SHORTEST:
        return _("The address needs at least {number} characters.").format(number=SHORTEST)
    if len(slug) > LONGEST:
        return _("The address can have at most {number} characters.").format(number=LONGEST)
    if slug.startswith("xn--") or "--" in slug:
        return _("Two hyphens can't follow each other in an address.")
    if slug.startswith("pg_") or not re.fullmatch(r"[a-z0-9-]+", slug):
        better = suggest(slug)
        if better and better != slug and complaint(better) is None:
            return _("Use only the letters a to z, digits and hyphens, e.g. “{better}”.").format(better=better)
        return _("Use only the letters a to z, digits and hyphens.")
    if slug[0] == "-" or slug[-1] == "-":
        return _("The address can't begin or end with a hyphen.")
    if slug.replace("-", "").isdigit():
        return _("The address needs at least one letter.")
    return None


def singulars(slug: str) -> Iterable[str]:
    """The address and what it may be the plural of, without hyphens too."""
    for form in {slug, slug.replace("-", "")}:
        yield form
        for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
            if form.endswith(ending):
                yield form.removesuffix(ending) + instead


def is_reserved(slug: str) -> bool:
    """Whether an address, its singular or what it looks like is kept for the platform."""
    forms = set(singulars(slug))
    return bool(forms & RESERVED) or skeleton(slug) in _reserved_skeletons() or slug.startswith("pg-")


_skeletons: frozenset[str] = frozenset()


def _reserved_skeletons() -> frozenset[str]:
    global _skeletons
    if not _skeletons:
        _skeletons = frozenset(skeleton(form) for word in RESERVED for form in (word, word + "s"))
    return _skeletons


NO_DIGITS = str.maketrans("", "", "0123456789")


def is_near(slug: str, other: str) -> bool:
    """Whether two addresses can be mistaken for each other: one skeleton, or one slip apart when they are long.

    Addresses that differ in digits alone (``hotel-1``, ``hotel-2``) are meant to be told apart.
    """
    mine, theirs = skeleton(slug), skeleton(other)
    if mine == theirs:
        return True
    if slug.translate(NO_DIGITS) == other.translate(NO_DIGITS):
        return False
    short, long = sorted((mine, theirs), key=len)
    if len(short) < LONG_ENOUGH_TO_SLIP or len(long) - len(short) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return swapped or (len(short) >= LONG_ENOUGH_TO_DIFFER and short[at + 1 :] == long[at + 1 :])


def checked(text: str) -> str:
    """The address, tidied, if a new tenant may have it.

    Raises Refused with one sentence for the field ``slug``. Taken, held, reserved and too similar sound the same: the
    answer tells nobody who else is a customer.
    """
    slug = tidy(text)
    wrong = complaint(slug)
    if wrong is None and (is_reserved(slug) or _is_taken(slug)):
        wrong = _("This address is taken, or too much like one that is. Choose another.")
    if wrong:
        raise Refused(wrong, fields={"slug": [wrong]}, code="address_refused")
    return slug


def _is_taken(slug: str) -> bool:
    with platform_context():
        known = set(Tenant.objects.values_list("slug", flat=True))
        known |= set(HeldName.objects.filter(until__gt=timezone.now()).values_list("name", flat=True))
    return any(is_near(slug, other) for other in known if "." not in other)


def host_is_free(host: str) -> bool:
    """Whether a host name belongs to no tenant and is not held for one that was deleted."""
    with platform_context():
        held = HeldName.objects.filter(name=host, until__gt=timezone.now()).exists()
        return not held and not Domain.objects.filter(domain=host).exists()
