"""The machinery that runs the notebooks: what there is, in what order, and the pages of a run."""
