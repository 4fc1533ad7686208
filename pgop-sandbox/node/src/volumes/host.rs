//! `hostPath`: <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{VolumeError, make};

/// Makes what may be made, and checks that it is of the kind that is asked for.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(path).map_err(make(path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(make(path))?;
        }
        "FileOrCreate" if !path.exists() => fs::write(path, b"").map_err(make(path))?,
        _ => {}
    }
    let meta = fs::metadata(path).map_err(make(path))?;
    let is = match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => meta.is_dir(),
        "File" | "FileOrCreate" => meta.is_file(),
        "Socket" => meta.file_type().is_socket(),
        "CharDevice" => meta.file_type().is_char_device(),
        "BlockDevice" => meta.file_type().is_block_device(),
        _ => false,
    };
    if is {
        Ok(())
    } else {
        Err(VolumeError::HostPath {
            path: source.path.clone(),
            kind: kind.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use k8s_openapi::api::core::v1::HostPathVolumeSource;

    #[test]
    fn kinds_are_checked_and_some_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let source = |name: &str, kind: &str| HostPathVolumeSource {
            path: folder.path().join(name).to_string_lossy().into_owned(),
            type_: Some(kind.to_owned()),
        };
        assert!(check(&source("a", "Directory")).is_err());
        assert!(check(&source("a/b", "DirectoryOrCreate")).is_ok());
        assert!(check(&source("a", "Directory")).is_ok());
        assert!(check(&source("a", "File")).is_err());
        assert!(check(&source("f", "FileOrCreate")).is_ok());
        assert!(check(&source("f", "Socket")).is_err());
    }
}
