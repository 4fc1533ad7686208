//! Renders a `PgCluster` to the objects that the operator would send, without a cluster.
//!
//! ```text
//! cargo run --example render_cluster
//! ```

use std::error::Error;

use pgop_core::crd::PgCluster;
use pgop_core::managed::Managed;
use pgop_core::observed::Observed;
use pgop_core::plan::{Plan, plan};

const HIPPO: &str = "
apiVersion: pgop.dev/v1alpha1
kind: PgCluster
metadata: {name: hippo, namespace: zoo}
spec: {replicas: 1, postgres: {version: '17', parameters: {work_mem: 16MB}}}
";

/// From YAML to a plan: the same steps as in the operator, and all of them pure.
fn build(yaml: &str) -> Result<Plan, Box<dyn Error>> {
    let cluster: PgCluster = serde_saphyr::from_str(yaml)?;
    let registry = pgop_strategies::builtin()?;
    let strategy = registry.clusters.get(cluster.strategy())?;
    // Nothing exists yet.
    let validated = cluster
        .validate(&Observed::default(), strategy.description())
        .map_err(|invalid| pgop_core::invalid::summary(&invalid))?;
    Ok(plan(strategy.as_ref(), &validated, &Observed::default())?)
}

#[allow(clippy::print_stdout)] // printing is what it is for
fn main() -> Result<(), Box<dyn Error>> {
    let plan = build(HIPPO)?;
    let objects: Vec<_> = plan.apply.iter().map(|apply| apply.manifest.value()).collect();
    print!("{}", serde_saphyr::to_string_multiple(&objects)?);
    Ok(())
}

#[test]
fn a_cluster_becomes_a_primary_and_a_replica() {
    let plan = build(HIPPO).unwrap();
    use pgop_core::kind::Kind;

    let names = |kind| {
        plan.apply
            .iter()
            .map(|a| &a.manifest)
            .filter(move |m| m.kind() == kind)
            .map(|m| m.name().to_owned())
    };
    assert_eq!(names(Kind::StatefulSet).collect::<Vec<_>>(), ["hippo", "hippo-replica"]);
    assert_eq!(
        names(Kind::PersistentVolumeClaim).collect::<Vec<_>>(),
        ["data-hippo-replica-0", "hippo-pvc"]
    );
    assert_eq!(plan.secrets.len(), 3, "passwords are made when the plan is carried out");
}

#[test]
fn a_wrong_spec_names_the_field_and_the_mend() {
    let error = build(&HIPPO.replace("work_mem: 16MB", "fsync: 'off'"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("spec.postgres.parameters.fsync = off is refused"),
        "{error}"
    );
}
