"""Methods of looking inside a network, a family in each folder; families do not import each other."""
