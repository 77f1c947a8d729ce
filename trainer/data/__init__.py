"""From a folder of scans and labels to batches: cases, fingerprint, plan, splits, store, patches."""
