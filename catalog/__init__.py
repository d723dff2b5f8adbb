"""Facts about models, quantisations, chips and engines."""
