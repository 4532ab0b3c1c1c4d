"""The auto pool: facts about this guest, found out when the host asks for them."""
