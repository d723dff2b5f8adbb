"""Many reference machines at once."""
