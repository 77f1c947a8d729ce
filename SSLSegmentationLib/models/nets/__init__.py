"""The project's own networks, one file each. They are torch's classes, so nothing imports these files but by name.

Every network takes and gives (batch, channel, i, j, k). `features` tells what methods of training look at:

logits      scores of the classes
feat        what the classifier sees, at full resolution and before its drop-out
bottleneck  the coarsest features
skips       the encoder's features from fine to coarse, without the bottleneck

`bottleneck` gives that one alone, without the decoder's work.
"""
