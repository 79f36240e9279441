"""Records as they come from kiosks: taken in once, with what is known of their time."""
