"""The pages of the book that are made: the package, the tables, the lineage, the workspace."""
