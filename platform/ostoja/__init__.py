"""Ostoja is one CRM and ERP that runs as a public cloud, a private installation, or a hybrid of the two."""

__version__ = "0.1.0"
