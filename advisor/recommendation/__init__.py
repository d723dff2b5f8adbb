"""Which model at which settings, why, and why not."""
