"""Picture files <-> pixels and metadata."""
