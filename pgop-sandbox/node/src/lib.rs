//! Part of pgop-sandbox: node.
