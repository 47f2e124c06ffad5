"""Documents: files attached to records."""
