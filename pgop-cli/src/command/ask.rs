//! Questions to the person.

use std::io::BufRead;

use super::Context;
use crate::error::Error;

/// Asks for `yes`; anything else is no.
pub fn confirm(context: &mut Context<'_>, question: &str) -> Result<(), Error> {
    context.screen.ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && is_yes(&answer) {
        Ok(())
    } else {
        Err(Error::Interrupted)
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("YES\r\n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n") && !is_yes("yes please"));
    }
}
