"""The document of a plan, status or report, and the texts rendered from it."""
