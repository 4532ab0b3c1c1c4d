"""`host`: a simulated Hyper-V host."""
