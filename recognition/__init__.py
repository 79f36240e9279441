"""Frames in, identities out: detector, embedder, liveness, gallery, decision.

The walk: `engines.load_engine`, `gallery.Gallery.replace`, `recogniser.Recogniser.observe`. What
was measured with it stands in docs/accuracy.md.
"""
