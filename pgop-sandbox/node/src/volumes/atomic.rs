//! Files that change all at once: a folder of each version, and a link `..data` that is switched from one to the next.
//! The visible names are links through it, as a kubelet makes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What is to be there: relative path, content, mode.
pub(crate) type Files = BTreeMap<PathBuf, (Vec<u8>, u32)>;

const DATA: &str = "..data";

/// Makes the folder hold these files and no others. Whether something changed.
pub(crate) fn write(folder: &Path, files: &Files) -> io::Result<bool> {
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
        jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S"),
        rand::random::<u32>()
    );
    let version = folder.join(&name);
    fs::create_dir(&version)?;
    fs::set_permissions(&version, fs::Permissions::from_mode(0o755))?;
    for (path, (content, mode)) in files {
        let at = version.join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&at, content)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(*mode))?;
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
    for (path, (content, mode)) in files {
        let at = version.join(path);
        match fs::metadata(&at) {
            Ok(meta) if meta.permissions().mode() & 0o7777 == *mode && fs::read(&at)? == *content => {}
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
    use super::{Files, write};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(path, text)| (path.into(), (text.as_bytes().to_vec(), 0o440)))
            .collect()
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
