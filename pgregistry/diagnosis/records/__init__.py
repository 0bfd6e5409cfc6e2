"""Flight records: files, tables and events, as torch writes them."""
