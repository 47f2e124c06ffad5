"""Tenancy: tenants and their schemas, the fail-closed switch, provisioning, fleet migrations; the only importer of django_tenants."""
