//! `$(NAME)` in commands, arguments and values, as
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/> has it.

use std::collections::HashMap;

/// Puts in what is known. What is not known stays as it is; `$$` is a dollar sign.
pub(crate) fn expand(text: &str, known: &HashMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|name| name.split_once(')')) {
            if let Some(value) = known.get(name) {
                out.push_str(value);
            } else {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;
    use std::collections::HashMap;

    fn known() -> HashMap<String, String> {
        [("NAME", "orders"), ("EMPTY", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn known_names_are_put_in() {
        for (text, want) in [
            ("data-$(NAME)", "data-orders"),
            ("$(NAME)$(NAME)", "ordersorders"),
            ("a$(EMPTY)b", "ab"),
            ("$(OTHER)", "$(OTHER)"),
            ("$$(NAME)", "$(NAME)"),
            ("$$$(NAME)", "$orders"),
            ("$NAME ${NAME} $", "$NAME ${NAME} $"),
            ("$(NAME", "$(NAME"),
            ("ü$(NAME)ü", "üordersü"),
        ] {
            assert_eq!(expand(text, &known()), want, "{text}");
        }
    }
}
