//! The keys of the configuration.

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is documented, such as `DB.PORT`.
    pub name: &'static str,
    /// What it sets.
    pub about: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// How it is read.
    pub kind: Kind,
}

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A password: never printed.
    Secret,
    /// A port.
    Port,
    /// A number of replicas.
    Replicas,
    /// A user or group id.
    Id,
    /// Group ids with commas between them.
    Ids,
    /// A size such as `10Gi`.
    Size,
    /// An access mode.
    AccessMode,
    /// true or false.
    Switch,
    /// v1.0.0 had it; it means nothing today.
    Past,
}

macro_rules! keys {
    ($($name:literal, $kind:ident, $default:literal, $about:literal;)*) => {
        /// Every key, in the order in which `pgo config` shows them.
        pub const KEYS: &[Key] = &[$(Key { name: $name, about: $about, default: $default, kind: Kind::$kind }),*];
    };
}

keys! {
    "KUBECONFIG", Text, "~/.kube/config, then the pod's own account", "kubeconfig file";
    "PVC_NAME", Text, "<source>-backup-pvc", "existing claim for backups";
    "DB.NAMESPACE", Text, "that of the context", "namespace";
    "DB.IMAGE", Text, "postgres:<version>", "image with the PostgreSQL server";
    "DB.PG_VERSION", Text, "chosen by the operator", "PostgreSQL version";
    "DB.IMAGE_PULL_POLICY", Text, "chosen by the operator", "when the image is pulled";
    "DB.PORT", Port, "5432", "port of the Services";
    "DB.PVC_NAME", Text, "a claim for each server", "existing claim that the servers share";
    "DB.PVC_SIZE", Size, "chosen by the operator", "size of new claims";
    "DB.PVC_ACCESS_MODE", AccessMode, "ReadWriteOnce", "access mode of new claims";
    "DB.STORAGE_CLASS", Text, "the cluster's default class", "StorageClass of new claims";
    "DB.PG_MASTER_USER", Text, "replicator", "replication role";
    "DB.PG_MASTER_PASSWORD", Secret, "generated", "its password";
    "DB.PG_USER", Text, "app", "ordinary role";
    "DB.PG_PASSWORD", Secret, "generated", "its password";
    "DB.PG_DATABASE", Text, "app", "database made for it";
    "DB.PG_ROOT_PASSWORD", Secret, "generated", "password of the superuser postgres";
    "DB.FSGROUP", Id, "the group of the processes", "group that owns the volumes";
    "DB.SUPPLEMENTALGROUPS", Ids, "none", "further groups of the processes";
    "DB.RUN_AS_USER", Id, "999", "user id of the processes";
    "DB.STRATEGY", Text, "standalone", "strategy of databases";
    "CLUSTER.STRATEGY", Text, "streaming", "strategy of clusters";
    "CLUSTER.REPLICAS", Replicas, "2", "replicas of new clusters";
    "BACKUP.STRATEGY", Text, "basebackup", "strategy of backups";
    "BACKUP.PVC_SIZE", Size, "twice the source's size", "size of new backup claims";
    "BACKUP.STORAGE_CLASS", Text, "the cluster's default class", "StorageClass of new backup claims";
    "PGO.BROWSE_IMAGE", Text, "the image of the resource", "image of the pod that looks into volumes";
    "PGO.DEBUG", Switch, "false", "same as --debug";
    "DB.CCP_IMAGE_TAG", Past, "", "no longer used: set DB.IMAGE or DB.PG_VERSION";
    "PGO.LSPVC_TEMPLATE", Past, "", "no longer used: the pod that looks into volumes is built in";
    "PGO.CO_IMAGE_TAG", Past, "", "no longer used: set PGO.BROWSE_IMAGE if you need to";
}

impl Key {
    /// The key of that name, in any case. `NAMESPACE` is what v1.1.0 called `DB.NAMESPACE`.
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = if name.eq_ignore_ascii_case("NAMESPACE") {
            "DB.NAMESPACE"
        } else {
            name
        };
        KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name))
    }

    /// Its environment variable: `PGO_DB_PORT`, and `KUBECONFIG` as for every Kubernetes tool.
    pub fn variable(&self) -> String {
        match self.name {
            "KUBECONFIG" => "KUBECONFIG".to_owned(),
            name => format!("PGO_{}", name.strip_prefix("PGO.").unwrap_or(name).replace('.', "_")),
        }
    }

    /// The key whose name is nearest, for the person who mistyped it.
    pub fn nearest(name: &str) -> Option<&'static Self> {
        let name = name.to_ascii_uppercase();
        KEYS.iter()
            .map(|key| (distance(key.name, &name), key))
            .filter(|(steps, key)| *steps <= 2 + key.name.len() / 6)
            .min_by_key(|(steps, _)| *steps)
            .map(|(_, key)| key)
    }
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_variables_are_unique() {
        let names: BTreeSet<_> = KEYS.iter().map(|k| k.name).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((names.len(), variables.len()), (KEYS.len(), KEYS.len()));
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(Key::find("db.port").map(|k| k.name), Some("DB.PORT"));
        assert_eq!(Key::find("Namespace").map(|k| k.name), Some("DB.NAMESPACE"));
        assert_eq!(Key::find("DB.PROT"), None);
    }

    #[test]
    fn variables_are_spelled_as_documented() {
        let variable = |name| Key::find(name).map(Key::variable);
        assert_eq!(variable("DB.PORT").as_deref(), Some("PGO_DB_PORT"));
        assert_eq!(variable("PGO.DEBUG").as_deref(), Some("PGO_DEBUG"));
        assert_eq!(variable("PVC_NAME").as_deref(), Some("PGO_PVC_NAME"));
        assert_eq!(variable("KUBECONFIG").as_deref(), Some("KUBECONFIG"));
    }

    #[test]
    fn a_typo_finds_its_key() {
        assert_eq!(Key::nearest("DB.PROT").map(|k| k.name), Some("DB.PORT"));
        assert_eq!(
            Key::nearest("db.suplementalgroups").map(|k| k.name),
            Some("DB.SUPPLEMENTALGROUPS")
        );
        assert_eq!(Key::nearest("whatever"), None);
    }
}
