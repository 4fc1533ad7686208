//! How a server is reached, as libpq reads it: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::secret::Login;

/// A server elsewhere, and who connects to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Usually 5432.
    pub port: u16,
    /// The role.
    pub user: String,
    /// What the server's views call the session; a synchronous replica is named by it.
    pub application: String,
}

impl Target {
    /// The connection string, without the password: that stands in the file. A peer that vanished (a lost node, dropped packets) is noticed within
    /// half a minute.
    pub fn text(&self, passfile: &Path) -> String {
        let Self {
            host,
            port,
            user,
            application,
        } = self;
        format!(
            "host={} port={port} user={} application_name={} passfile={} connect_timeout=10 keepalives=1 keepalives_idle=10 keepalives_interval=5 \
             keepalives_count=4 tcp_user_timeout=30000",
            quoted(host),
            quoted(user),
            quoted(application),
            quoted(&passfile.display().to_string()),
        )
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Writes the file that libpq reads a password from, for its owner only: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.
pub fn write_passfile(path: &Path, login: &Login) -> io::Result<()> {
    let new = path.with_extension("new");
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&passfile(login))?;
    fs::rename(new, path)
}

fn passfile(login: &Login) -> Vec<u8> {
    let mut file = b"*:*:*".to_vec();
    for field in [login.name.as_bytes(), &login.password] {
        file.push(b':');
        for byte in field {
            if matches!(byte, b'\\' | b':') {
                file.push(b'\\');
            }
            file.push(*byte);
        }
    }
    file.push(b'\n');
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_chose_is_quoted() {
        let target = Target {
            host: "hippo".to_owned(),
            port: 5433,
            user: r"repl:ica\tor='q'".to_owned(),
            application: "hippo-replica-0".to_owned(),
        };
        let text = target.text(Path::new("/pgop/run/pgpass"));
        assert!(
            text.starts_with(
                r"host='hippo' port=5433 user='repl:ica\\tor=\'q\'' application_name='hippo-replica-0' passfile='/pgop/run/pgpass' "
            ),
            "{text}"
        );
    }

    #[test]
    fn the_passfile_is_its_owners_and_libpq_reads_back_what_was_meant() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let login = Login {
            name: "re:pl\\".to_owned(),
            password: b"a:b\\c\xff".to_vec(),
        };
        fs::write(path.with_extension("new"), "left by one that was killed").unwrap();
        write_passfile(&path, &login).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"*:*:*:re\\:pl\\\\:a\\:b\\\\c\xff\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
