//! What a Secret has to hold so that its password can be used. `pgop-core` has the same rule for Secrets that a resource names.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A role with its password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Any bytes but those that no client can send. Never shown, never sent: only what it is checked with reaches the server.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a Secret can't be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It lacks a key, or there is nothing in it.
    #[error("the {role} role's Secret lacks `{key}`, or there is nothing in it")]
    Missing {
        /// Whose.
        role: String,
        /// Which.
        key: &'static str,
    },
    /// No client can send it.
    #[error(
        "the {role} role's Secret has a line break or NUL in `{key}`: write it without one, as `printf %s` does and `echo` does not"
    )]
    LineBreak {
        /// Whose.
        role: String,
        /// Which.
        key: &'static str,
    },
    /// A name is text.
    #[error("the {role} role's Secret has a `username` that is not UTF-8")]
    Name {
        /// Whose.
        role: String,
    },
    /// It can't be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the Secret of a role, which is mounted below `secrets` with a file for each key.
pub fn login(secrets: &Path, role: &str) -> Result<Login, SecretError> {
    let name = value(secrets, role, "username")?;
    let role_of = || SecretError::Name { role: role.to_owned() };
    Ok(Login {
        name: String::from_utf8(name).map_err(|_| role_of())?,
        password: value(secrets, role, "password")?,
    })
}

fn value(secrets: &Path, role: &str, key: &'static str) -> Result<Vec<u8>, SecretError> {
    let path = secrets.join(role).join(key);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(SecretError::Read { path, source }),
    };
    let role = role.to_owned();
    if bytes.is_empty() {
        return Err(SecretError::Missing { role, key });
    }
    if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(SecretError::LineBreak { role, key });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(password: Option<&[u8]>) -> Result<Login, String> {
        let secrets = tempfile::tempdir().unwrap();
        let folder = secrets.path().join("user");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("username"), "app").unwrap();
        if let Some(password) = password {
            std::fs::write(folder.join("password"), password).unwrap();
        }
        login(secrets.path(), "user").map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_what_a_client_can_send() {
        for fine in [&b"geheim"[..], b" geheim\t", "p\u{e4}\u{20ac}".as_bytes(), b"\xff\xfe"] {
            assert_eq!(read(Some(fine)).unwrap().password, fine);
        }
        let line = "the user role's Secret has a line break or NUL in `password`: write it without one, as `printf %s` does and `echo` does not";
        for broken in [&b"geheim\n"[..], b"abc\r\n", b"abc\r", b"a\nb", b"\n", b"a\0b"] {
            assert_eq!(read(Some(broken)).unwrap_err(), line);
        }
        let missing = "the user role's Secret lacks `password`, or there is nothing in it";
        assert_eq!(read(Some(b"")).unwrap_err(), missing);
        assert_eq!(read(None).unwrap_err(), missing);
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            format!("{:?}", read(Some(b"geheim")).unwrap()),
            "Login { name: \"app\", .. }"
        );
    }
}
