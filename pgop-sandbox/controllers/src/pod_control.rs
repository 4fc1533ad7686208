//! Pods made and deleted for an owner: noted until the cache shows it, and told in events.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Resource, ResourceExt};

use crate::{
    context::Context,
    expectations::Expectations,
    queue::Key,
    verbs::{self, VerbError},
};

/// What makes and deletes the pods of one owner.
pub(crate) struct PodControl<'a, O> {
    pub(crate) context: &'a Context,
    pub(crate) expectations: &'a Expectations,
    pub(crate) key: &'a Key,
    pub(crate) owner: &'a O,
}

impl<O: Resource<DynamicType = ()>> PodControl<'_, O> {
    fn api(&self) -> Api<Pod> {
        self.context.namespaced(&self.key.namespace)
    }

    /// Makes a pod that has its name already. In a namespace that is going away nothing is made, and nothing is said.
    pub(crate) async fn create(&self, pod: &Pod) -> Result<(), VerbError> {
        let name = pod.name_any();
        self.expectations.will_create(self.key, &name);
        match verbs::create(&self.api(), pod).await {
            Ok(_) => {
                self.tell("SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.did_not_create(self.key, &name);
                if error.is_namespace_ending() {
                    return Ok(());
                }
                self.warn("FailedCreate", format!("Error creating: {}", error.message()));
                Err(error)
            }
        }
    }

    /// Deletes a pod.
    pub(crate) async fn delete(&self, pod: &Pod) -> Result<(), VerbError> {
        let uid = pod.uid().unwrap_or_default();
        self.expectations.will_delete(self.key, &uid);
        match verbs::delete(&self.api(), &pod.metadata, None).await {
            Ok(()) => {
                self.tell("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
                Ok(())
            }
            Err(error) => {
                self.expectations.did_not_delete(self.key, &uid);
                self.warn("FailedDelete", format!("Error deleting: {}", error.message()));
                Err(error)
            }
        }
    }

    fn tell(&self, reason: &'static str, message: String) {
        self.context.recorder.normal(self.owner, reason, message);
    }

    fn warn(&self, reason: &'static str, message: String) {
        self.context.recorder.warning(self.owner, reason, message);
    }
}
