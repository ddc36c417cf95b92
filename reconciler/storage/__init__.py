"""What updoser keeps: files by content, and the state."""
