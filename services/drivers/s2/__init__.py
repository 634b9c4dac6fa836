"""A battery whose resource manager speaks S2 (EN 50491-12-2): this side is its customer energy manager (CEM)."""
