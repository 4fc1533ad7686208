//! Files that change all at once: a folder of each version, and a link `..data` that is switched from one to the next.
//! The visible names are links through it, as a kubelet makes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::owner::Owner;

/// What is to be there, by relative path.
pub(super) type Files = BTreeMap<PathBuf, File>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    /// Its user, where it isn't the node's.
    pub(super) user: Option<u32>,
}

const DATA: &str = "..data";

/// Makes the folder hold these files and no others, with the group of their owner. Whether something changed.
pub(super) fn write(folder: &Path, files: &Files, owner: Owner) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    let link = folder.join(DATA);
    let current = fs::read_link(&link).ok().map(|to| folder.join(to));
    if let Some(current) = &current
        && holds(current, files)?
    {
        return Ok(false);
    }
    let name = format!(
        "..{}.{:08x}",
        pgop_sandbox_tasks::now().strftime("%Y_%m_%d_%H_%M_%S"),
        rand::random::<u32>()
    );
    let version = folder.join(&name);
    fs::create_dir(&version)?;
    fs::set_permissions(&version, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let at = version.join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&at, &file.content)?;
        owner.give(&at, file.user)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(file.mode))?;
    }
    let next = folder.join("..data_tmp");
    let _ = fs::remove_file(&next); // of a try that was cut off
    symlink(&name, &next)?;
    fs::rename(&next, &link)?;
    show(folder, files)?;
    if let Some(old) = current {
        fs::remove_dir_all(old)?;
    }
    Ok(true)
}

/// Does a version hold exactly these files?
fn holds(version: &Path, files: &Files) -> io::Result<bool> {
    for (path, file) in files {
        let at = version.join(path);
        match fs::metadata(&at) {
            Ok(meta) if meta.permissions().mode() & 0o7777 == file.mode && fs::read(&at)? == file.content => {}
            _ => return Ok(false),
        }
    }
    Ok(count(version)? == files.len())
}

fn count(folder: &Path) -> io::Result<usize> {
    let mut found = 0;
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(0);
    };
    for entry in entries {
        let entry = entry?;
        found += if entry.file_type()?.is_dir() {
            count(&entry.path())?
        } else {
            1
        };
    }
    Ok(found)
}

/// Links for the first step of each path; those that lead nowhere any more go.
fn show(folder: &Path, files: &Files) -> io::Result<()> {
    let names: std::collections::BTreeSet<_> = files
        .keys()
        .filter_map(|p| p.components().next())
        .map(|c| c.as_os_str().to_owned())
        .collect();
    for name in &names {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("..") && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{File, Files};
    use crate::holder::Users;
    use crate::volumes::owner::Owner;
    use k8s_openapi::api::core::v1::Pod;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File {
            content: text.as_bytes().to_vec(),
            mode: 0o440,
            user: None,
        };
        list.iter().map(|(path, text)| (path.into(), file(text))).collect()
    }

    fn write(folder: &Path, files: &Files) -> std::io::Result<bool> {
        super::write(folder, files, Owner::of(&Pod::default(), &Users::One))
    }

    #[test]
    fn files_are_links_into_the_current_version() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(write(at, &files(&[("a", "1"), ("sub/b", "2")])).unwrap());
        assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(at.join("sub/b")).unwrap(), "2");
        assert_eq!(fs::read_link(at.join("a")).unwrap().to_str().unwrap(), "..data/a");
        assert_eq!(fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777, 0o440);
    }

    #[test]
    fn a_change_switches_all_at_once_and_old_versions_go() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, &files(&[("a", "1"), ("b", "1")])).unwrap();
        let before = fs::read_link(at.join("..data")).unwrap();
        assert!(
            !write(at, &files(&[("a", "1"), ("b", "1")])).unwrap(),
            "nothing changed"
        );
        assert_eq!(fs::read_link(at.join("..data")).unwrap(), before);
        assert!(write(at, &files(&[("a", "2")])).unwrap());
        assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "2");
        assert!(!at.join("b").exists());
        assert!(!at.join(before).exists());
        assert_eq!(fs::read_dir(at).unwrap().count(), 3, "..data, the version, a");
    }

    #[test]
    fn it_may_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Files::new()).unwrap();
        assert!(folder.path().join("..data").exists());
    }
}
