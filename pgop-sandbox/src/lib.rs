//! An embedded Kubernetes for one Linux machine.
