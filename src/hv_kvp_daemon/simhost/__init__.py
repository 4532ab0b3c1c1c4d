"""A simulated Hyper-V host: the conversation a real one holds, without a VM."""
