"""From a Volume and a package to labels and doubt: preprocessing, sliding window, memory, uncertainty, clean-up."""
