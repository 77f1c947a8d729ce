"""Export of corrected cases, their provenance, the work list, DICOM SEG."""
