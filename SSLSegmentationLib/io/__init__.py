"""Files in and out: scans, DICOM folders, label maps and Slicer segmentations."""
