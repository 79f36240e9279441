"""What `doctor` looks at, one small function each (`kiosk.doctor` puts them in order)."""
