"""What an author runs: from the lessons to notebooks, tests, reference, book and exports; and `run --lineage`."""
