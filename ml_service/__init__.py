"""Wine samples in, quality predictions out."""
