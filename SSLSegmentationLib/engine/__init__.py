"""The process that owns the device: sessions, jobs, the service and its clients."""
