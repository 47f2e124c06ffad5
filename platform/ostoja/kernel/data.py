"""What a model must say of its data: the class of every field, how long it is kept, and how it syncs between sites."""

from __future__ import annotations

from enum import StrEnum


class DataClass(StrEnum):
    """How sensitive a field is; the tenant's policy says which classes may leave its premises."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


OPEN_CLASSES = (DataClass.PUBLIC, DataClass.INTERNAL)
CLOSED_CLASSES = (DataClass.CONFIDENTIAL, DataClass.RESTRICTED)


class Sync(StrEnum):
    """How records of a model travel between the sites of a hybrid tenant."""

    MERGE = "merge"  # both sides write, fields merge
    APPEND = "append"  # rows are only added
    PREMISES = "premises"  # the premises write, the cloud reads
    CLOUD = "cloud"  # the cloud writes, the premises read
    LOCAL = "local"  # never leaves the site where it was made


class Data:
    """The data class of every field of a model.

    >>> Data(internal=["title"], confidential="*", keep="6 years after closes_on")

    ``"*"`` stands for all fields not named elsewhere and may stand only in a closed class, so that a field added
    tomorrow stays on the premises until someone opens it by name. ``secret`` fields (password hashes, digests of keys) are
    restricted, and moreover never shown, exported, shipped or kept as an old value in the journal. ``subject`` names the
    field that holds the person whom the data is about (for the GDPR register), if any.
    """

    def __init__(
        self, *, public=(), internal=(), confidential=(), restricted=(), secret=(), keep: str = "", subject: str = ""
    ):
        self.by_class = {
            DataClass.PUBLIC: public,
            DataClass.INTERNAL: internal,
            DataClass.CONFIDENTIAL: confidential,
            DataClass.RESTRICTED: restricted,
        }
        self.keep = keep
        self.subject = subject
        self.secret = frozenset(secret)
        self._named = {name: cls for cls, names in self.by_class.items() if names != "*" for name in names}
        self._named |= dict.fromkeys(secret, DataClass.RESTRICTED)
        self._rest = next((cls for cls, names in self.by_class.items() if names == "*"), None)

    def class_of(self, field_name: str) -> DataClass | None:
        """The class of a field; None when nothing was said of it (the start is refused then)."""
        return self._named.get(field_name, self._rest)

    @property
    def named(self) -> dict[str, DataClass]:
        """The fields that are named, with their class."""
        return dict(self._named)

    @property
    def rest(self) -> DataClass | None:
        """The class in which ``"*"`` stands."""
        return self._rest
