"""The wire format of gRPC: `registry.proto`, what is generated from it, and how values become messages."""
