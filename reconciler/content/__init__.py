"""Content by its digest: where it lies on this machine and elsewhere, how it is brought, verified, here, and kept."""
