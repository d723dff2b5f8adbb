"""Models that live together under one memory budget."""
