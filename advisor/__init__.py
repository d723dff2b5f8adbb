"""Think: estimate, recommend, validate and calibrate."""

__version__ = "0.1.0"
