"""Records of purchases, repairs, and takes of a review."""
