"""Load a pick in a real engine, time it, and set it beside its prediction."""
