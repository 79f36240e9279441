"""What was done and what is held: noted, signed, checked, kept for its term."""
