//! The helpers that templates have beside Handlebars' own.
//!
//! ```text
//! {{json x}}             the value as JSON, which is YAML too: the only way to print a value
//! (concat a "-b" 1)      texts and numbers, put together
//! {{#if x}} {{#unless x}} Handlebars' own, but a name that does not exist is an error instead of false
//! ```

use std::fmt::Write;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, Renderable, ScopedJson,
};
use serde_json::Value;

pub(crate) fn register(handlebars: &mut Handlebars<'_>) {
    handlebars.register_helper("json", Box::new(Json));
    handlebars.register_helper("concat", Box::new(Concat));
    handlebars.register_helper("if", Box::new(If { positive: true }));
    handlebars.register_helper("unless", Box::new(If { positive: false }));
}

struct Json;

impl HelperDef for Json {
    /// The result is a text, which the caller prints as it is, since nothing is escaped.
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let text = json_text(existing(helper, "json", 0)?)?;
        Ok(ScopedJson::Derived(Value::String(text)))
    }
}

struct Concat;

impl HelperDef for Concat {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let mut text = String::new();
        for index in 0..helper.params().len() {
            match existing(helper, "concat", index)? {
                Value::String(part) => text.push_str(part),
                Value::Number(part) => text.push_str(&part.to_string()),
                _ => {
                    return Err(
                        RenderErrorReason::InvalidParamType("concat takes texts and numbers; text or number").into(),
                    );
                }
            }
        }
        Ok(ScopedJson::Derived(Value::String(text)))
    }
}

struct If {
    positive: bool,
}

impl HelperDef for If {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        handlebars: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let zero = helper
            .hash_get("includeZero")
            .and_then(|v| v.value().as_bool())
            .unwrap_or(false);
        let holds = existing(helper, "if", 0)?.is_truthy(zero) == self.positive;
        let branch = if holds { helper.template() } else { helper.inverse() };
        branch.map_or(Ok(()), |template| template.render(handlebars, context, render, out))
    }
}

/// A parameter that has to exist; it may be null.
fn existing<'a>(helper: &'a Helper<'_>, name: &'static str, index: usize) -> Result<&'a Value, RenderError> {
    let param: &PathAndJson<'_> = helper
        .param(index)
        .ok_or(RenderErrorReason::ParamNotFoundForIndex(name, index))?;
    if param.is_value_missing() {
        return Err(RenderErrorReason::MissingVariable(param.relative_path().cloned()).into());
    }
    Ok(param.value())
}

/// JSON that every YAML parser reads as the same value: characters that YAML 1.1 or 1.2 takes for line breaks, or refuses, are escaped.
fn json_text(value: &Value) -> Result<String, RenderError> {
    let json = serde_json::to_string(value).map_err(RenderErrorReason::from)?;
    let is_special =
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}');
    if !json.contains(is_special) {
        return Ok(json);
    }
    Ok(json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if is_special(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c)); // writing to a String can't fail
        } else {
            text.push(c);
        }
        text
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_yaml_versions_take_for_line_breaks_is_escaped() {
        let text = "a\u{0}\n\u{7f}\u{85}\u{9f}\u{2028}\u{2029}\u{feff}\u{ffff}é🐘\"\\";
        let json = json_text(&json!({ text: [text, null, 1.5] })).unwrap();
        assert!(
            json.contains("\\u007f\\u0085\\u009f\\u2028\\u2029\\ufeff\\uffffé🐘"),
            "{json}"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            json!({ text: [text, null, 1.5] })
        );
        assert_eq!(
            serde_saphyr::from_str::<Value>(&json).unwrap(),
            json!({ text: [text, null, 1.5] })
        );
    }
}
