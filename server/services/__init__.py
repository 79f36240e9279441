"""The rules. A service takes a SQLAlchemy `Session`, whose rows are those of one township, and the
time as arguments; it adds and changes rows, and leaves the commit to its caller."""
