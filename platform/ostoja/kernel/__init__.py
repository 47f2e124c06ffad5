"""The kernel: Record, verb, constraints, Data, Sync, Surface, registry, actors, errors. It knows Django only."""
