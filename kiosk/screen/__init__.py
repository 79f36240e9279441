"""The kiosk's own page: what it shows (`feed`), in which words (`words`), and how it is served."""
