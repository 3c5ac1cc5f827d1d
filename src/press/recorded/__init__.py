"""What the last build saw, kept in the repository: schemas, digests, lineage and seconds."""
