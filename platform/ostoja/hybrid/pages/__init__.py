"""Hybrid's web pages, inside the frame of the web room: what leaves and who decided it, purges, links, conflicts."""
