"""The journal: the append-only list of what changed in a tenant, written by the database itself, hash-chained."""
