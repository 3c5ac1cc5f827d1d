"""What the last build saw, kept in the repository: schemas, digests and lineage."""
