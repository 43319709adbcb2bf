"""Many rows in one task: where they come from, which is next, what became of each. Nothing here sends anything."""
