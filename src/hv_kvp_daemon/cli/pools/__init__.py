"""`list`, `get`, `set`, `append`, `delete`, `clear`, `export`, `import`, `watch`, `check`."""
