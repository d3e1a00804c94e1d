"""The report of a run: `summary.json` for machines, `report.html` for people."""
