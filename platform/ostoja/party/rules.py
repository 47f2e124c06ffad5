"""Rules of parties in the database's own language: valid tax numbers, which of them are in use, one main contact point."""

from __future__ import annotations

from ostoja.kernel.constraints import Rule

# PTY-2: a NIP has ten digits whose weighted sum gives the last. A number is in use while its party is, unless it is a
# branch that shares the number of its organisation. Who brings a number waits for who is just waking or archiving its party.
TAX_ID = """
IF NEW.country = 'PL' AND NEW.type = 'nip' THEN
  IF NEW.value !~ '^[0-9]{10}$' THEN {refuse} END IF;
  IF (SELECT sum(substr(NEW.value, place::int, 1)::int * weight) % 11
      FROM unnest('{6,5,7,2,3,4,5,6,7}'::int[]) WITH ORDINALITY AS w(weight, place)) <> substr(NEW.value, 10, 1)::int
  THEN {refuse} END IF;
END IF;
DECLARE state_of_party text;
BEGIN
  SELECT state INTO state_of_party FROM party_party WHERE id = NEW.party_id FOR SHARE;
  NEW.live := NOT NEW.is_branch AND coalesce(state_of_party <> 'archived', true);
END;
RETURN NEW;
"""

LIVE_OF_PARTY = """
IF NEW.state IS DISTINCT FROM OLD.state THEN
  UPDATE party_taxid SET live = NOT is_branch AND NEW.state <> 'archived'
  WHERE party_id = NEW.id AND live <> (NOT is_branch AND NEW.state <> 'archived');
END IF;
RETURN NULL;
"""

# The newest main contact point of a type is the main one.
ONE_PRIMARY = """
IF NEW.is_primary AND (TG_OP = 'INSERT' OR NOT OLD.is_primary) THEN
  UPDATE party_contactpoint SET is_primary = false
  WHERE party_id = NEW.party_id AND type = NEW.type AND id <> NEW.id AND is_primary;
END IF;
RETURN NULL;
"""

KEEPS_PARTY = """
IF NEW.party_id IS DISTINCT FROM OLD.party_id AND {condition}
   AND NOT EXISTS (SELECT FROM party_party WHERE id = OLD.party_id AND merged_into_id = NEW.party_id)
   AND NOT EXISTS (SELECT FROM party_moved WHERE record = OLD.id AND party_id = NEW.party_id)
THEN {refuse} END IF;
RETURN NEW;
"""


class KeepsParty(Rule):
    """A record (in this state) keeps its party, but for a merge of the party and its undoing (PTY-3)."""

    def __init__(self, state: str = "", *, name: str, says: object = None):
        self.state = state
        condition = f"OLD.state = '{state}'" if state else "true"
        sql = KEEPS_PARTY.replace("{condition}", condition)
        super().__init__(sql, name=name, on="UPDATE", timing="BEFORE", says=says)

    def deconstruct(self):
        path, _args, kwargs = super().deconstruct()
        return path, ((self.state,) if self.state else ()), {"name": kwargs["name"]}
