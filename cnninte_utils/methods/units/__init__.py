"""What single units respond to: deconvnet and its relatives, activation maximisation (paper B)."""
