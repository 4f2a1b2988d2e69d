"""Looking inside convolutional networks: the support package of the notebook series."""

__version__ = "0.1.0"
