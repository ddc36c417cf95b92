"""What runs on a client, and the two ends of its protocol."""
