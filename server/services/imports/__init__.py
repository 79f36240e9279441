"""Tables that offices send: read within bounds, every row's fate said first, applied whole, undone
by what is appended."""
