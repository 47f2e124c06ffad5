"""Testing: a pytest plugin with an installation of its own, fresh tenants, people and clients for every test."""
