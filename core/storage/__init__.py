"""Storage: the journal, series stores, records and snapshots."""
