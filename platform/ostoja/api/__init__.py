"""REST and OpenAPI from the registry: every object, every verb, under the rights of whoever asks."""
