//! A role's name and password as the pod's Secrets have them, and the file from which libpq reads them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use thiserror::Error;

use crate::sql::Login;

/// Why a Secret says nothing.
#[derive(Debug, Error)]
pub enum SecretError {
    /// A key is not there, or can't be read.
    #[error("the Secret of the {role} role lacks the key {key}: {source}")]
    Read {
        /// Which role.
        role: String,
        /// Which key.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is nothing that a role can have.
    #[error("{key} in the Secret of the {role} role is empty, is no UTF-8, or has a line break or NUL")]
    Unusable {
        /// Which role.
        role: String,
        /// Which key.
        key: &'static str,
    },
}

/// Reads name and password of a role. A mounted Secret changes under its reader: whoever waits for a password reads it again.
pub fn login(secrets: &Path, role: &str) -> Result<Login, SecretError> {
    let key = |key: &'static str| {
        let role = || role.to_owned();
        let text = std::fs::read(secrets.join(role()).join(key)).map_err(|source| SecretError::Read {
            role: role(),
            key,
            source,
        })?;
        let text = String::from_utf8(text)
            .ok()
            .filter(|text| !text.is_empty() && !text.contains(['\n', '\r', '\0']));
        text.ok_or_else(|| SecretError::Unusable { role: role(), key })
    };
    Ok(Login {
        name: key("username")?,
        password: key("password")?,
    })
}

/// Writes the file that libpq reads a password from, for its owner only:
/// <https://www.postgresql.org/docs/current/libpq-pgpass.html>.
pub fn write_passfile(path: &Path, login: &Login) -> io::Result<()> {
    let field = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let new = path.with_extension("new");
    if let Err(error) = std::fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "*:*:*:{}:{}", field(&login.name), field(&login.password))?;
    std::fs::rename(new, path)
}

/// A value of a connection string: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE>.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(username: &str, password: &[u8]) -> Result<Login, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let role = folder.path().join("replication");
        fs::create_dir(&role).unwrap();
        fs::write(role.join("username"), username).unwrap();
        fs::write(role.join("password"), password).unwrap();
        login(folder.path(), "replication")
    }

    #[test]
    fn a_password_is_taken_as_it_stands_or_refused() {
        assert_eq!(secret("repl", b" a:b\\c'\xc3\xbc ").unwrap().password, " a:b\\c'ü ");
        for bad in [&b""[..], b"a\n", b"a\r\n", b"a\0", b"\xff"] {
            let error = secret("repl", bad).unwrap_err().to_string();
            assert!(
                error.starts_with("password in the Secret of the replication role"),
                "{error}"
            );
        }
        let error = login(Path::new("/nowhere"), "replication").unwrap_err().to_string();
        assert!(
            error.starts_with("the Secret of the replication role lacks the key username: "),
            "{error}"
        );
    }

    #[test]
    fn the_passfile_is_its_owners_and_libpq_reads_back_what_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let login = Login {
            name: "re:pl\\".to_owned(),
            password: "a:b\\c".to_owned(),
        };
        fs::write(path.with_extension("new"), "left by one that was killed").unwrap();
        write_passfile(&path, &login).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "*:*:*:re\\:pl\\\\:a\\:b\\\\c\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(quoted("o'neil\\"), "'o\\'neil\\\\'");
    }
}
