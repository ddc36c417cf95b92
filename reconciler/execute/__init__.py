"""Everything that changes something: downloads and deployments, as the plan says."""
