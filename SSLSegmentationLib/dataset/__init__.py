"""Corrected cases as training data: export with provenance, and what comes before and after it."""
