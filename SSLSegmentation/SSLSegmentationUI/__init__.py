"""The window of SSLSegmentation in 3D Slicer, one subject a file. What could be tested without it is in the library."""
