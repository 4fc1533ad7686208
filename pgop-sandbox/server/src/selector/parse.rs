//! Reading label selectors, with the rules and the words of Kubernetes.

use pgop_sandbox_schema::validation::{label_value, qualified_name};

use super::{Requirement, SelectorError};

/// A piece of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, or the operators `in` and `notin`: which of them depends on the place.
    Word(&'a str),
    /// An operator, a comma or a parenthesis.
    Sign(&'a str),
    End,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Sign(text) => text,
            Self::End => "",
        }
    }
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    const SIGNS: [&'static str; 9] = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];

    /// The next piece, and what is left after it.
    fn split(&self) -> (Token<'a>, &'a str) {
        let rest = self.rest.trim_start();
        if rest.is_empty() {
            return (Token::End, rest);
        }
        if let Some(sign) = Self::SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            return (Token::Sign(sign), &rest[sign.len()..]);
        }
        let end = rest
            .find(|letter: char| letter.is_whitespace() || "=!(),<>".contains(letter))
            .unwrap_or(rest.len());
        (Token::Word(&rest[..end]), &rest[end..])
    }

    fn peek(&self) -> Token<'a> {
        self.split().0
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.split();
        self.rest = rest;
        token
    }
}

fn unable(why: &str) -> SelectorError {
    SelectorError(format!("unable to parse requirement: {why}"))
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    unable(&format!("found '{}', expected: {expected}", token.text()))
}

/// All requirements of a selector. An empty one has none.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut tokens = Tokens { rest: text };
    let mut requirements = Vec::new();
    if tokens.peek() == Token::End {
        return Ok(requirements);
    }
    loop {
        requirements.push(requirement(&mut tokens)?);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") => match tokens.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => return Err(found(other, "identifier after ','")),
            },
            other => return Err(found(other, "',' or 'end of string'")),
        }
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, SelectorError> {
    let negated = tokens.peek() == Token::Sign("!");
    if negated {
        tokens.next();
    }
    let Token::Word(name) = tokens.peek() else {
        let expected = if negated {
            "identifier"
        } else {
            "!, identifier, or 'end of string'"
        };
        return Err(found(tokens.peek(), expected));
    };
    tokens.next();
    let key = key(name)?;
    if negated {
        return Ok(Requirement::Missing(key));
    }
    if matches!(tokens.peek(), Token::End | Token::Sign(",")) {
        return Ok(Requirement::Exists(key));
    }
    Ok(match tokens.next() {
        Token::Word("in") => Requirement::In(key.clone(), values(tokens, &key)?),
        Token::Word("notin") => Requirement::NotIn(key.clone(), values(tokens, &key)?),
        Token::Sign("=" | "==") => Requirement::In(key.clone(), vec![one_value(tokens, &key)?]),
        Token::Sign("!=") => Requirement::NotIn(key.clone(), vec![one_value(tokens, &key)?]),
        Token::Sign(">") => Requirement::Above(key.clone(), limit(tokens, &key)?),
        Token::Sign("<") => Requirement::Below(key.clone(), limit(tokens, &key)?),
        other => return Err(found(other, "in, notin, =, ==, !=, gt, lt")),
    })
}

fn key(text: &str) -> Result<String, SelectorError> {
    match qualified_name(text).as_slice() {
        [] => Ok(text.to_owned()),
        problems => Err(unable(&format!(
            "<nil>: Invalid value: {text:?}: {}",
            problems.join("; ")
        ))),
    }
}

fn value(text: &str, at: usize, key: &str) -> Result<String, SelectorError> {
    match label_value(text).as_slice() {
        [] => Ok(text.to_owned()),
        problems => Err(unable(&format!(
            "values[{at}][{key}]: Invalid value: {text:?}: {}",
            problems.join("; ")
        ))),
    }
}

/// What stands behind a sign; nothing is the empty value.
fn one_value(tokens: &mut Tokens<'_>, key: &str) -> Result<String, SelectorError> {
    match tokens.peek() {
        Token::End | Token::Sign(",") => Ok(String::new()),
        Token::Word(text) => {
            tokens.next();
            value(text, 0, key)
        }
        other @ Token::Sign(_) => Err(found(other, "identifier")),
    }
}

fn limit(tokens: &mut Tokens<'_>, key: &str) -> Result<i64, SelectorError> {
    one_value(tokens, key)?
        .parse()
        .map_err(|_| unable("values[0]: Invalid value: for 'Gt', 'Lt' operators, the value must be an integer"))
}

/// `(a, b)`; nothing between two signs is the empty value.
fn values(tokens: &mut Tokens<'_>, key: &str) -> Result<Vec<String>, SelectorError> {
    match tokens.next() {
        Token::Sign("(") => {}
        other => return Err(found(other, "'('")),
    }
    let mut values = Vec::new();
    loop {
        let text = match tokens.peek() {
            Token::Word(text) => {
                tokens.next();
                text
            }
            Token::Sign("," | ")") => "",
            other => return Err(found(other, "',', ')' or identifier")),
        };
        values.push(value(text, values.len(), key)?);
        match tokens.next() {
            Token::Sign(",") => {}
            Token::Sign(")") => return Ok(values),
            other => return Err(found(other, "',' or ')'")),
        }
    }
}
