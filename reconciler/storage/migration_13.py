"""What brings a schema of version 12 to version 13: marks of clients, by which nothing new is seen at once."""

from __future__ import annotations

STATEMENTS = ("ALTER TABLE clients ADD COLUMN mark VARCHAR(80) DEFAULT '' NOT NULL",)
