"""What other programs are told and ask."""
