"""The collector: ingest and receipts, projections, dead letters."""
