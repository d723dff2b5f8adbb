"""Rates of chips that are not here: from their data sheets and published runs."""
