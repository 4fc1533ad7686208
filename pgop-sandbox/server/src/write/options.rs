//! The options of a write: dry run, field manager, what becomes of unknown fields.

use pgop_sandbox_schema::Cause;

use crate::call::Call;
use crate::status::Result;

/// What a write does besides writing.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) unknown_fields: UnknownFields,
}

/// What happens with fields that the type does not have: <https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    Ignore,
    Warn,
    Refuse,
}

impl Options {
    pub(crate) fn of(call: &Call) -> Result<Self> {
        let unknown_fields = match call.query.get("fieldValidation") {
            None | Some("Warn") => UnknownFields::Warn,
            Some("Ignore") => UnknownFields::Ignore,
            Some("Strict") => UnknownFields::Refuse,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let cause = Cause::not_supported("fieldValidation", &other.into(), &supported);
                return Err(call.invalid_option(cause));
            }
        };
        Ok(Self {
            dry_run: call.dry_run()?,
            manager: call.field_manager()?,
            unknown_fields,
        })
    }
}
