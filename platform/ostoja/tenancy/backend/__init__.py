"""The PostgreSQL backend whose tenant switch fails closed."""
