"""Model packages: what a package is, how it is read and checked, where packages come from and where they live."""
