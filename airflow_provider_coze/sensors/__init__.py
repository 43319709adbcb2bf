"""Wait for chats and runs that somebody else started."""
