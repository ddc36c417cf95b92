"""Pure decisions: what is wanted, what differs, what to do. The clock and all facts are arguments."""
