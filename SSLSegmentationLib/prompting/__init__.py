"""Clicks, boxes and masks on any plane, refinement of coarse masks, spreading a slice through the volume."""
