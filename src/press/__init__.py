"""What an author runs, and `run --lineage`: lessons to notebooks, tests, reference, book and exports."""
