"""Kiosks and desks: paired, supplied, asked, revoked."""
