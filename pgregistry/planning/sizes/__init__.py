"""The sizes of axes and parts, and the cuts of splits into factors of the world."""
