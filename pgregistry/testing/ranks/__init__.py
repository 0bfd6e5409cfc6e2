"""Local ranks for tests."""
