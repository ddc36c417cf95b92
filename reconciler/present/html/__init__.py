"""Documents as pages: one file each, which needs nothing but itself and asks nobody for anything."""
