//! Part of pgop-sandbox: server.
