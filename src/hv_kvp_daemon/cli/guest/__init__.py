"""The commands that show the facts about this guest that a host gets."""
