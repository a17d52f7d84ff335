"""gRPC as the services see it: one binder, one pipeline, one table of errors."""
