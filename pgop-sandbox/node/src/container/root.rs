//! The file system of a container, as arguments for bubblewrap.
//!
//! The root is an empty file system in memory; what programs need of the image is put into it read-only. The machine itself counts as an
//! image, of which only the folders of programs are shown.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::etc::ORIGINAL;
use crate::volumes::Mount;

/// What of the machine is shown to containers without an image of their own.
const SHOWN: [&str; 11] = [
    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "opt", "nix", "gnu",
];
/// What of an image is not: it is made anew for each container.
const MADE: [&str; 7] = ["dev", "proc", "sys", "tmp", "run", "etc", "lost+found"];
/// Writable folders that every container has.
const WRITABLE: [&str; 12] = [
    "/run",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/cache",
    "/var/spool",
    "/var/mail",
    "/home",
    "/root",
    "/srv",
    "/mnt",
    "/media",
];

/// What is to be seen where.
pub(crate) struct Root<'a> {
    /// The image's folder; none for the machine.
    pub(crate) image: Option<&'a Path>,
    /// Folders of programs that are shown too.
    pub(crate) programs: &'a [PathBuf],
    /// The folder that becomes `/etc`.
    pub(crate) etc: &'a Path,
    pub(crate) mounts: &'a [Mount],
    /// The file for the last words, and where the container has it.
    pub(crate) termination: (&'a Path, &'a Path),
    pub(crate) directory: &'a Path,
    pub(crate) read_only: bool,
}

/// Arguments for bubblewrap.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, words: &[&dyn AsRef<std::ffi::OsStr>]) {
        self.0.extend(words.iter().map(|w| w.as_ref().to_owned()));
    }
}

impl Root<'_> {
    /// The arguments.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut out = Arguments::default();
        let source = self.image.unwrap_or(Path::new("/"));
        for (name, path) in entries(source) {
            let shown = if self.image.is_some() {
                !MADE.contains(&name.as_str())
            } else {
                SHOWN.contains(&name.as_str())
            };
            if shown {
                self.show(&mut out, &path, &Path::new("/").join(&name));
            }
        }
        // An image has its programs; the machine's would find other libraries there.
        for folder in self
            .programs
            .iter()
            .filter(|folder| self.image.is_none() && !self.is_shown(folder))
        {
            out.add(&[&"--ro-bind-try", folder, folder]);
        }
        out.add(&[&"--perms", &"1777", &"--dir", &"/tmp"]);
        let has = |path: &str| {
            self.image
                .is_some_and(|image| image.join(path.trim_start_matches('/')).exists())
        };
        for folder in WRITABLE.iter().filter(|folder| !has(folder)) {
            out.add(&[&"--dir", folder]);
        }
        if !has("/var") {
            out.add(&[
                &"--symlink",
                &"../run",
                &"/var/run",
                &"--perms",
                &"1777",
                &"--dir",
                &"/var/tmp",
            ]);
        }
        out.add(&[
            &"--proc",
            &"/proc",
            &"--dev",
            &"/dev",
            &"--ro-bind-try",
            &"/sys",
            &"/sys",
        ]);
        out.add(&[&if self.read_only { "--ro-bind" } else { "--bind" }, &self.etc, &"/etc"]);
        out.add(&[&"--ro-bind-try", &source.join("etc"), &ORIGINAL]);
        Self::hide(&mut out, source);
        for mount in self.mounts {
            out.add(&[
                &if mount.read_only { "--ro-bind" } else { "--bind" },
                &mount.from,
                &inside(&mount.to),
            ]);
        }
        out.add(&[&"--bind", &self.termination.0, &inside(self.termination.1)]);
        if !self.exists(self.directory) {
            out.add(&[&"--dir", &inside(self.directory)]);
        }
        if self.read_only {
            out.add(&[&"--remount-ro", &"/"]);
        }
        out.add(&[&"--chdir", &self.directory]);
        out.0
    }

    /// Puts a part of the image in its place. Where a volume needs a place inside that is not there, the folders on the way are made of
    /// their parts, so that there is room.
    fn show(&self, out: &mut Arguments, from: &Path, to: &Path) {
        if let Ok(target) = fs::read_link(from) {
            out.add(&[&"--symlink", &target, &to]);
            return;
        }
        let missing = |place: &Path| place != to && place.starts_with(to) && !self.source(place).exists();
        let opened = from.is_dir() && (self.mounts.iter().any(|m| missing(&m.to)) || missing(self.termination.1));
        if !opened {
            out.add(&[&"--ro-bind", &from, &to]);
            return;
        }
        out.add(&[&"--dir", &to]);
        for (name, path) in entries(from) {
            self.show(out, &path, &to.join(name));
        }
    }

    /// What is secret on the machine, when the node runs as root and its containers could so read it.
    fn hide(out: &mut Arguments, source: &Path) {
        for name in ["shadow", "shadow-", "gshadow", "gshadow-", "sudoers"] {
            if source.join("etc").join(name).is_file() {
                out.add(&[&"--ro-bind", &"/dev/null", &Path::new(ORIGINAL).join(name)]);
            }
        }
        for name in ["ssh", "ssl/private", "sudoers.d"] {
            if source.join("etc").join(name).is_dir() {
                out.add(&[&"--tmpfs", &Path::new(ORIGINAL).join(name)]);
            }
        }
    }

    fn source(&self, place: &Path) -> PathBuf {
        self.image
            .unwrap_or(Path::new("/"))
            .join(place.strip_prefix("/").unwrap_or(place))
    }

    fn is_shown(&self, folder: &Path) -> bool {
        let first = folder
            .components()
            .nth(1)
            .map(|c| c.as_os_str().to_string_lossy().into_owned());
        self.image.is_none() && first.is_some_and(|name| SHOWN.contains(&name.as_str()))
    }

    /// Is the folder there without being made?
    fn exists(&self, folder: &Path) -> bool {
        let in_mount = self.mounts.iter().any(|m| folder.starts_with(&m.to));
        folder == Path::new("/")
            || in_mount
            || (self.is_shown(folder) || self.image.is_some()) && self.source(folder).exists()
    }
}

/// `/var/run` is a link, and links are not followed well before the container exists.
fn inside(path: &Path) -> PathBuf {
    match path.strip_prefix("/var/run") {
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Names and paths in a folder, in order.
fn entries(folder: &Path) -> BTreeSet<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Root;
    use crate::volumes::Mount;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn arguments(image: Option<&Path>, mounts: &[Mount], read_only: bool) -> String {
        let root = Root {
            image,
            programs: &[
                PathBuf::from("/usr/lib/postgresql/15/bin"),
                PathBuf::from("/home/me/bin"),
            ],
            etc: Path::new("/state/etc"),
            mounts,
            termination: (Path::new("/state/note"), Path::new("/dev/termination-log")),
            directory: Path::new("/work"),
            read_only,
        };
        root.arguments()
            .iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn mount(to: &str) -> Mount {
        Mount {
            from: "/volumes/a".into(),
            to: to.into(),
            read_only: false,
        }
    }

    #[test]
    fn of_the_machine_only_programs_are_shown() {
        let text = arguments(None, &[mount("/var/run/secrets")], false);
        assert!(text.contains("--ro-bind /usr /usr"), "{text}");
        assert!(text.contains("--ro-bind-try /home/me/bin /home/me/bin"), "{text}");
        assert!(text.contains("--bind /volumes/a /run/secrets"), "{text}");
        assert!(text.ends_with("--dir /work --chdir /work"), "{text}");
        assert!(
            !text.contains("--ro-bind /home ") && !text.contains("--ro-bind /root") && !text.contains("remount"),
            "{text}"
        );
    }

    #[test]
    fn an_image_is_shown_whole_and_opened_where_a_volume_needs_room() {
        let image = tempfile::tempdir().unwrap();
        for folder in ["usr/share/x", "usr/bin", "data", "dev", "etc"] {
            fs::create_dir_all(image.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", image.path().join("bin")).unwrap();
        let text = arguments(
            Some(image.path()),
            &[mount("/usr/share/new/place"), mount("/data")],
            true,
        );
        let at = |path: &str| image.path().join(path).display().to_string();
        assert!(text.contains("--symlink usr/bin /bin"), "{text}");
        assert!(text.contains(&format!("--ro-bind {} /data", at("data"))), "{text}");
        assert!(
            text.contains("--dir /usr --ro-bind") && text.contains("--dir /usr/share --ro-bind"),
            "{text}"
        );
        assert!(
            text.contains(&format!("--ro-bind {} /usr/share/x", at("usr/share/x"))),
            "{text}"
        );
        assert!(text.contains("--remount-ro /"), "{text}");
    }
}
