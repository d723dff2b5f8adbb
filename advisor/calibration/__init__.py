"""Rates of this machine, through the engine itself, and how far predictions from them are off."""
