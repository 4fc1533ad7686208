//! To whom volumes belong: `fsGroup`, <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::holder::Users;

/// New files in a folder get its group, which may do everything there.
const OPEN_FOLDER: u32 = 0o2770;
/// The group reads and writes files.
const OPEN_FILE: u32 = 0o660;

/// Who owns what a pod is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The one user all containers run as, where that is one other than root.
    pub(super) user: Option<u32>,
    /// `fsGroup`.
    pub(super) group: Option<u32>,
    /// The files are really given away; where there is only one user, all are theirs already.
    real: bool,
    /// Files that are right at the top are taken to be right below (`fsGroupChangePolicy: OnRootMismatch`).
    top_only: bool,
}

impl Owner {
    pub(super) fn of(pod: &Pod, users: &Users) -> Self {
        let spec = pod.spec.as_ref();
        let context = spec.and_then(|s| s.security_context.as_ref());
        let containers = spec
            .iter()
            .flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        let mut asked = containers.map(|container| {
            let own = container.security_context.as_ref().and_then(|c| c.run_as_user);
            own.or(context.and_then(|c| c.run_as_user))
        });
        let first = asked.next().flatten().and_then(|id| u32::try_from(id).ok());
        let same = asked.all(|user| user.and_then(|id| u32::try_from(id).ok()) == first);
        Self {
            user: first.filter(|_| same),
            group: context.and_then(|c| c.fs_group).and_then(|id| u32::try_from(id).ok()),
            real: users.are_real(),
            top_only: !users.are_real()
                || context.and_then(|c| c.fs_group_change_policy.as_deref()) == Some("OnRootMismatch"),
        }
    }

    /// Gives a file to that user and to the group. Whoever gives it away sets its mode after that.
    pub(super) fn give(self, path: &Path, user: Option<u32>) -> io::Result<()> {
        if self.real && (user.is_some() || self.group.is_some()) {
            lchown(path, user, self.group)?;
        }
        Ok(())
    }

    /// Gives a volume with all that is in it to the group.
    pub(super) fn give_volume(self, path: &Path) -> io::Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        let top = fs::metadata(path)?;
        if self.top_only && self.is_given(&top) {
            return Ok(());
        }
        if !self.real {
            return match self.open(path, &top) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()), // another's folder
                other => other,
            };
        }
        self.give_below(path)?;
        self.give_one(path, &top) // last, so that a walk that was cut off is seen
    }

    fn is_given(self, meta: &Metadata) -> bool {
        meta.mode() & OPEN_FOLDER == OPEN_FOLDER && (!self.real || Some(meta.gid()) == self.group)
    }

    fn give_below(self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let meta = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // somebody works there
                found => found?,
            };
            if meta.is_dir() {
                self.give_below(&path)?;
            }
            match self.give_one(&path, &meta) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn give_one(self, path: &Path, meta: &Metadata) -> io::Result<()> {
        lchown(path, None, self.group)?;
        self.open(path, meta)
    }

    fn open(self, path: &Path, meta: &Metadata) -> io::Result<()> {
        let wanted = meta.mode() | if meta.is_dir() { OPEN_FOLDER } else { OPEN_FILE };
        if meta.is_symlink() || self.real && !(meta.is_dir() || meta.is_file()) {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(wanted & 0o7777))
    }
}

#[cfg(test)]
mod tests {
    use super::Owner;
    use crate::holder::Users;
    use serde_json::{Value, from_value, json};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn owner(users: &Users, context: &Value, containers: &Value) -> Owner {
        let pod = json!({"spec": {"securityContext": context, "containers": containers}});
        Owner::of(&from_value(pod).unwrap(), users)
    }

    #[test]
    fn a_user_owns_files_when_all_containers_are_the_same() {
        let of = |context: Value, users: [Value; 2]| {
            let containers = users.map(|user| json!({"name": "c", "securityContext": {"runAsUser": user}}));
            owner(&Users::One, &context, &json!(containers)).user
        };
        assert_eq!(of(json!({"runAsUser": 7}), [Value::Null, json!(7)]), Some(7));
        assert_eq!(of(json!({"runAsUser": 7}), [Value::Null, json!(8)]), None);
        assert_eq!(of(json!({}), [Value::Null, Value::Null]), None);
    }

    #[test]
    fn a_volume_is_opened_for_its_group() {
        let volume = tempfile::tempdir().unwrap();
        let at = volume.path();
        fs::create_dir(at.join("sub")).unwrap();
        fs::write(at.join("sub/file"), "x").unwrap();
        symlink("/nowhere-at-all", at.join("link")).unwrap();
        let mode = |path: &str| fs::symlink_metadata(at.join(path)).unwrap().mode() & 0o7777;
        for path in ["sub/file", "sub", ""] {
            fs::set_permissions(at.join(path), Permissions::from_mode(0o700)).unwrap();
        }
        let group = fs::metadata(at).unwrap().gid(); // one that everybody may give to
        let all = Users::Real {
            uids: vec![(0, u32::MAX)],
            gids: vec![(0, u32::MAX)],
        };
        let containers = json!([{"name": "c"}]);
        owner(&Users::One, &json!({"fsGroup": group}), &containers)
            .give_volume(at)
            .unwrap();
        assert_eq!((mode(""), mode("sub")), (0o2770, 0o700), "one user owns all of it");
        let policy = json!({"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"});
        owner(&all, &policy, &containers).give_volume(at).unwrap();
        assert_eq!(mode("sub"), 0o700, "the top is right");
        owner(&all, &json!({"fsGroup": group}), &containers)
            .give_volume(at)
            .unwrap();
        assert_eq!((mode("sub"), mode("sub/file")), (0o2770, 0o760));
    }
}
