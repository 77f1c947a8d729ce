"""From labels and the unlabelled archive beside them to a better model package."""
