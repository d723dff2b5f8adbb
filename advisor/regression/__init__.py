"""Record suites on reference hardware and compare the runs."""
