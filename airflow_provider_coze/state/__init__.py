"""What the tries of one task know of each other: what was bought, and what a later try does about it."""
