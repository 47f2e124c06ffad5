"""Fixtures of all tests come from the plugin that ships with Ostoja."""
