"""The core of hybrid: side-effect-free functions over plain data; no Django, no clock, no database, no network."""
