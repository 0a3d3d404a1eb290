"""Pure functions: figures of ranks, lists and texts."""
