//! Part of pgop-sandbox: controllers.
