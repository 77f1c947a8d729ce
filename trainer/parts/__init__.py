"""Parts that methods are made of: losses, heads, corruptions, samplers. Functions of tensors wherever possible."""
