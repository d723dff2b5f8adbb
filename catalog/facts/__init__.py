"""From raw facts to the catalog's packaged records: the work of ``catalog.build`` and ``catalog update``."""
