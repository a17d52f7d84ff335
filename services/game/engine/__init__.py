"""A session as plain Python: its rules, its one order of events, its receivers. No I/O, no clock, opaque bytes."""
