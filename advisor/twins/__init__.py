"""Weightless twins: a model's exact shapes and types with synthetic weights."""
