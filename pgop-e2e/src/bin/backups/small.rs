//! Claims with little room, which is real: file systems in memory on one node, mounted by a pod that may do anything there.

use pgop_e2e::operator::Killer;
use pgop_e2e::{Space, api, patiently};
use serde_json::json;

/// Its room is enough for two snapshots.
pub(crate) const SMALL: &str = "small";
/// Its room is not enough for one.
pub(crate) const TINY: &str = "tiny";

const CLAIMS: [(&str, u32); 2] = [(SMALL, 192), (TINY, 40)];

/// They go with this value.
pub(crate) struct SmallClaims<'a> {
    space: &'a Space,
    killer: &'a Killer,
}

impl<'a> SmallClaims<'a> {
    /// Makes them.
    pub(crate) fn make(space: &'a Space, killer: &'a Killer) -> Result<Self, String> {
        let node = api::find("", &api::kind("v1", "Node"), &killer.node).ok_or("the node is gone")?;
        let host = api::text(&node, "/metadata/labels/kubernetes.io~1hostname");
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
        let small = Self { space, killer };
        for (name, mebibytes) in CLAIMS {
            let (volume, path) = small.volume(name);
            killer.on_node(&format!(
                "mkdir -p {path}; mount -t tmpfs -o size={mebibytes}m,mode=0777 tmpfs {path}"
            ))?;
            let size = json!({"storage": format!("{mebibytes}Mi")});
            let modes = ["ReadWriteOnce"];
            let object = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                "spec": {
                    "capacity": size, "accessModes": modes, "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "", "hostPath": {"path": path, "type": "Directory"},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
                },
            });
            api::create("", object)?;
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"accessModes": modes, "storageClassName": "", "volumeName": volume, "resources": {"requests": size}},
            });
            api::create(space.name(), claim)?;
            patiently(&format!("claim {name}"), || {
                let claim = api::find(space.name(), &api::kind("v1", "PersistentVolumeClaim"), name);
                match claim.map(|claim| api::text(&claim, "/status/phase")) {
                    Some(bound) if bound == "Bound" => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })?;
        }
        Ok(small)
    }

    fn volume(&self, claim: &str) -> (String, String) {
        let volume = format!("{}-{claim}", self.space.name());
        let path = format!("/run/{volume}");
        (volume, path)
    }
}

impl Drop for SmallClaims<'_> {
    fn drop(&mut self) {
        for (name, _) in CLAIMS {
            let (volume, path) = self.volume(name);
            api::delete("", &api::kind("v1", "PersistentVolume"), &volume, false);
            // What pods still hold of it goes with them.
            if let Err(error) = self.killer.on_node(&format!("umount -l {path}; rmdir {path}")) {
                println!("backups: {path} on node {} is left: {error}", self.killer.node);
            }
        }
    }
}
