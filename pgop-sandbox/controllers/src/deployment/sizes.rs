//! How many pods a rollout may have and must keep. Pure.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};

/// A number, or a percentage of `whole`. `None` for text that is neither.
pub(crate) fn resolve(value: &IntOrString, whole: i32, round_up: bool) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = i64::from(whole) * percent;
            let share = if round_up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            i32::try_from(share).ok()
        }
    }
}

/// The sizes of one rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) replicas: i32,
    pub(crate) max_surge: i32,
    pub(crate) max_unavailable: i32,
}

impl Sizes {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let spec = &deployment.spec;
        let replicas = spec.replicas.unwrap_or(1);
        if is_recreate(deployment) || replicas == 0 {
            return Self {
                replicas,
                max_surge: 0,
                max_unavailable: 0,
            };
        }
        let strategy = spec.strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let surge = rolling
            .and_then(|rolling| rolling.max_surge.as_ref())
            .unwrap_or(&quarter);
        let unavailable = rolling
            .and_then(|rolling| rolling.max_unavailable.as_ref())
            .unwrap_or(&quarter);
        let max_surge = resolve(surge, replicas, true).unwrap_or(0).max(0);
        let mut max_unavailable = resolve(unavailable, replicas, false).unwrap_or(0).max(0);
        if max_surge == 0 && max_unavailable == 0 {
            // Percentages may round down to nothing: then the rollout could not move.
            max_unavailable = 1;
        }
        Self {
            replicas,
            max_surge,
            max_unavailable: max_unavailable.min(replicas),
        }
    }

    pub(crate) fn most(&self) -> i32 {
        self.replicas + self.max_surge
    }

    pub(crate) fn least_available(&self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

pub(crate) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sizes(replicas: i32, surge: Value, unavailable: Value) -> (i32, i32) {
        let deployment = serde_json::from_value(json!({ "spec": {
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
        } }))
        .unwrap();
        let sizes = Sizes::of(&deployment);
        (sizes.most(), sizes.least_available())
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        assert_eq!(sizes(10, json!("25%"), json!("25%")), (13, 8));
        assert_eq!(sizes(3, json!(1), json!(0)), (4, 3));
        assert_eq!(sizes(1, json!("25%"), json!("25%")), (2, 1));
    }

    #[test]
    fn a_rollout_can_always_move() {
        assert_eq!(sizes(3, json!("0%"), json!("10%")), (3, 2));
    }

    #[test]
    fn unavailability_is_at_most_all() {
        assert_eq!(sizes(2, json!(0), json!(5)), (2, 0));
        assert_eq!(sizes(0, json!(1), json!(1)), (0, 0));
    }

    #[test]
    fn text_that_is_no_percentage() {
        assert_eq!(resolve(&IntOrString::String("half".into()), 10, true), None);
    }
}
