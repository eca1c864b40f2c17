"""fivesigma."""
