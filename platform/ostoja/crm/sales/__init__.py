"""Sales: pipelines, deals with their lines, and the history of their stages."""
