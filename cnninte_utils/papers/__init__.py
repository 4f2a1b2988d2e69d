"""What each paper did, and only that: recipes, layers, scale; its claims are in ``claims/``."""
