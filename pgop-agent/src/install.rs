//! `pgop-agent install DIR`: the program copies itself to where the containers of a pod find it.
//!
//! The copy comes under another name, goes to the disk, and only then gets its own: under that, a program is whole or not there, whenever the
//! container is ended. What an ended one left is removed by the next. One at a time: it is an init container, of which a pod never runs two.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The program that runs, whatever its name was when it was started.
const OWN: &str = "/proc/self/exe";
const NAME: &str = "pgop-agent";
const NEW: &str = ".pgop-agent.new";
/// Containers of a pod may run as different users.
const MODE: u32 = 0o755;

/// Why the program could not be copied.
#[derive(Debug, Error)]
#[error("pgop-agent can't be installed (to {action} {}): {source}; {}", path.display(), advice(source))]
pub struct InstallError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What to do about it, in the words of a pod's spec.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "the volume there is full: give it a larger sizeLimit, or free space on the node"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount the volume there without readOnly",
        io::ErrorKind::PermissionDenied => "the container's user may not write there: mount an emptyDir",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "mount an emptyDir there",
        _ => "the container is started again and tries anew",
    }
}

/// Copies the running program to `into/pgop-agent`, in place of one that is there.
pub fn install(into: &Path) -> Result<(), InstallError> {
    steps(Path::new(OWN), into).iter().try_for_each(Step::run)
}

/// One change of the disk. Any may be the last.
#[derive(Clone, Debug)]
enum Step {
    Remove(PathBuf),
    /// Also brings it to the disk.
    Copy(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Sync(PathBuf),
}

fn steps(program: &Path, into: &Path) -> [Step; 4] {
    let new = into.join(NEW);
    [
        Step::Remove(new.clone()),
        Step::Copy(program.to_owned(), new.clone()),
        Step::Rename(new, into.join(NAME)),
        Step::Sync(into.to_owned()),
    ]
}

impl Step {
    fn run(&self) -> Result<(), InstallError> {
        let (action, path, done) = match self {
            Self::Remove(path) => ("remove", path, remove(path)),
            Self::Copy(from, to) => ("write", to, copy(from, to)),
            Self::Rename(from, to) => ("rename it to", to, fs::rename(from, to)),
            Self::Sync(path) => (
                "sync",
                path,
                File::open(path).and_then(|directory| directory.sync_all()),
            ),
        };
        done.map_err(|source| InstallError {
            action,
            path: path.clone(),
            source,
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(MODE).open(to)?;
    io::copy(&mut from, &mut to)?;
    // Whatever the umask is.
    to.set_permissions(fs::Permissions::from_mode(MODE))?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (program, into) = (folder.path().join("program"), folder.path().join("bin"));
        fs::create_dir(&into).unwrap();
        fs::write(&program, "new").unwrap();
        (folder, program, into)
    }

    fn names(folder: &Path) -> Vec<String> {
        let all = fs::read_dir(folder).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn cut_off_anywhere_the_program_is_the_old_one_or_the_new_one_and_the_next_try_ends_well() {
        for old in [None, Some("old")] {
            for cut in 0..=4 {
                let (_folder, program, into) = folder();
                if let Some(text) = old {
                    fs::write(into.join(NAME), text).unwrap();
                }
                let steps = steps(&program, &into);
                steps[..cut].iter().for_each(|step| step.run().unwrap());
                let there = fs::read_to_string(into.join(NAME)).ok();
                let expected = if cut < 3 { old } else { Some("new") };
                assert_eq!(there.as_deref(), expected, "cut after {cut}");
                for _ in 0..2 {
                    for step in &steps {
                        step.run().unwrap();
                    }
                    assert_eq!(fs::read_to_string(into.join(NAME)).unwrap(), "new");
                    assert_eq!(names(&into), [NAME], "cut after {cut}");
                }
            }
        }
    }

    #[test]
    fn half_a_copy_is_no_program_and_is_in_nobodys_way() {
        let (_folder, program, into) = folder();
        fs::write(into.join(NEW), "ne").unwrap();
        fs::set_permissions(into.join(NEW), fs::Permissions::from_mode(0o400)).unwrap();
        for step in steps(&program, &into) {
            step.run().unwrap();
        }
        assert_eq!(names(&into), [NAME]);
        let mode = fs::metadata(into.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
    }

    #[test]
    fn it_copies_the_program_that_runs() {
        let (_folder, _, into) = folder();
        install(&into).unwrap();
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(fs::read(into.join(NAME)).unwrap() == own);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let (folder, program, _) = folder();
        let absent = folder.path().join("absent");
        let failed = |into: &Path| {
            let error = steps(&program, into).iter().try_for_each(Step::run).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            failed(&absent),
            format!(
                "pgop-agent can't be installed (to write {}): No such file or directory (os error 2); mount an emptyDir there",
                absent.join(NEW).display()
            )
        );
        assert!(failed(&program).ends_with("mount an emptyDir there"));
        for (number, words) in [
            (28, "is full"),
            (122, "is full"),
            (30, "without readOnly"),
            (13, "may not write"),
        ] {
            assert!(
                advice(&io::Error::from_raw_os_error(number)).contains(words),
                "{number}"
            );
        }
    }
}
