"""`make bench`: what a call costs in the product, beside two servers that do nothing else."""
