"""What villagers see: the board, portraits, plates, the duty notice, visits."""
