"""A township: its sites and people, where they are expected, on leave, and now."""
