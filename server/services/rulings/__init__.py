"""What people decide: `corrections`, `findings`, `spotchecks`, `statements` of signed months, and
the `attachments` that belong to them. All of it is appended; nothing is edited.
"""
