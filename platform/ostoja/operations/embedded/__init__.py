"""The services that Ostoja brings along: PostgreSQL and the broker, started from wheels inside the installation's home."""
