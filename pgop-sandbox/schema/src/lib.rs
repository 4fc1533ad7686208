//! Part of pgop-sandbox: schema.
