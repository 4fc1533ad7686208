//! A short name for a text.

use sha2::{Digest, Sha256};

/// First 8 hex digits of SHA-256: enough to tell two versions of one object apart.
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(4)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
