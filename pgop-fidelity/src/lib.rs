//! Assertions about the Kubernetes API, for the sandbox and real clusters.
