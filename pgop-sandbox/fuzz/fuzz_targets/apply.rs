//! Server-side apply: what was applied can be applied again without a change.
#![no_main]

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use pgop_sandbox_fuzz::two_values;
use pgop_sandbox_schema::Schema;
use pgop_sandbox_schema::apply::{Manager, apply};

static POD: LazyLock<Arc<Schema>> = LazyLock::new(|| Schema::built_in("", "v1", "Pod").expect("pods"));

fuzz_target!(|input: &[u8]| {
    let Some((first, second)) = two_values(input) else {
        return;
    };
    let manager = |name| Manager {
        name,
        api_version: "v1",
        subresource: None,
        now: Timestamp::UNIX_EPOCH,
    };
    let Ok(live) = apply(&POD, None, &first, &manager("first"), false) else {
        return;
    };
    let _ = apply(&POD, Some(&live), &second, &manager("second"), false);
    let Ok(forced) = apply(&POD, Some(&live), &second, &manager("second"), true) else {
        return;
    };
    let again = apply(&POD, Some(&forced), &second, &manager("second"), false);
    assert_eq!(again.expect("what is mine"), forced, "{first} {second}");
});
