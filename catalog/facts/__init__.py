"""From raw source records to the catalog's packaged records; used only by ``catalog.build``."""
