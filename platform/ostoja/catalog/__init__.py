"""The catalogue: products, units and categories, entered once and used by every module."""
