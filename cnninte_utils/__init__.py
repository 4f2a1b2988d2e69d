"""Looking inside convolutional networks: the support package of the notebook series."""

__version__ = "0.2.0"
