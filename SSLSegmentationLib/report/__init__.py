"""What a person keeps of a segmentation: a picture to look at and numbers to work with."""

DISCLAIMER = "For research use, not a medical device"
