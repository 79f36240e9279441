"""What kiosk, enrolment desk and server all say: records, statuses, clock evidence, chain, wire.

Nothing here does input or output, and nothing here imports another package of ours. The only
third-party packages are the codec (msgspec) and the signatures and seals of the wire (PyNaCl).
"""
