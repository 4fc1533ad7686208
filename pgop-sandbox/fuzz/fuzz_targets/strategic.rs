//! Strategic merge patches: any patch on any object; an empty one changes nothing.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pgop_sandbox_fuzz::two_values;
use pgop_sandbox_schema::{Schema, strategic};
use serde_json::json;

static POD: LazyLock<Arc<Schema>> = LazyLock::new(|| Schema::built_in("", "v1", "Pod").expect("pods"));

fuzz_target!(|input: &[u8]| {
    let Some((live, patch)) = two_values(input) else { return };
    let _ = strategic::merge(&POD, &live, &patch);
    if live.is_object() {
        assert_eq!(strategic::merge(&POD, &live, &json!({})).as_ref(), Ok(&live));
    }
});
