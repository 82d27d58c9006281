"""What a label's probability is, and what shares, calibrations and figures are made of it."""
