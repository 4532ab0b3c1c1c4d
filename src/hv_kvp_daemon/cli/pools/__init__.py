"""The commands that show, change, copy, watch and check the pools."""
