"""MRML: volumes, segments, heat map, prompt markups and preview, for the desktop module and the browser app."""
