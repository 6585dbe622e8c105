"""Which host ports may be leased."""

from __future__ import annotations

PORT_RANGE = range(20000, 30000)
"""Below the kernel's usual ephemeral range (from 32768), below Swarm's and Kubernetes' node ports (30000-32767)."""

# What well-known servers inside the range use by default; people start those by hand.
DENIED = frozenset(
    {
        *(20257, 20880, 22000, 22222, 24007, 24008, 24224, 24225, 24231, 24678, 24800, 25565, 25575, 25672, 25826),
        *(26000, 26256, 26257, 26379, 26656, 26657, 27015, 27017, 27018, 27019, 28015, 28017, 29015, 29092, 29093),
    }
)
