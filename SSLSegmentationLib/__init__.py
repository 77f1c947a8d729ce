"""SSLSegmentation: interactive segmentation of medical scans in which the model's doubt is visible.

Research software, not a medical device.
"""

__version__ = "0.1.0"
