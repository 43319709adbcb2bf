"""How bytes move: the only place that imports HTTP libraries. No endpoint, no code and no retry is known here."""
