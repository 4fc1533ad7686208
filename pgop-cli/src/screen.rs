//! Standard output, standard error, and what the terminal can do.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Where results and errors go.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    out_colour: bool,
    err_colour: bool,
    /// Standard error is a terminal: progress may rewrite its line.
    pub lively: bool,
    broken: Option<io::Error>,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourWish {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// All is well.
    Good,
    /// Look at it.
    Warn,
    /// It is broken.
    Bad,
    /// Less important.
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
        }
    }

    /// `text` in this style, if colour is wanted.
    pub fn paint(self, text: &str, colour: bool) -> String {
        if colour && self != Self::Plain {
            format!("{}{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

impl<'a> Screen<'a> {
    /// A screen on two streams. `terminals` tells for each whether a person looks at it.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        terminals: (bool, bool),
        wish: ColourWish,
        no_color: bool,
    ) -> Self {
        let colour = |terminal: bool| match wish {
            ColourWish::Auto => terminal && !no_color,
            ColourWish::Always => true,
            ColourWish::Never => false,
        };
        Self {
            out,
            err,
            out_colour: colour(terminals.0),
            err_colour: colour(terminals.1),
            lively: terminals.1,
            broken: None,
        }
    }

    /// Whether results are coloured.
    pub fn colour(&self) -> bool {
        self.out_colour
    }

    /// One line of result.
    pub fn line(&mut self, text: impl Display) {
        let done = writeln!(self.out, "{text}");
        self.note(done);
    }

    /// Text as it is: a manifest, or what a program in a pod wrote.
    pub fn raw(&mut self, bytes: &[u8]) {
        let done = self.out.write_all(bytes).and_then(|()| self.out.flush());
        self.note(done);
    }

    /// The standard error of a program in a pod.
    pub fn raw_err(&mut self, bytes: &[u8]) {
        let _ = self.err.write_all(bytes).and_then(|()| self.err.flush());
    }

    /// One error, as one line on standard error.
    pub fn error(&mut self, text: impl Display) {
        let head = Style::Bad.paint("pgo: error:", self.err_colour);
        self.say(&head, &text.to_string());
    }

    /// Something to know that is no error.
    pub fn note_line(&mut self, text: impl Display) {
        let head = Style::Dim.paint("pgo:", self.err_colour);
        self.say(&head, &text.to_string());
    }

    /// Something that may go wrong later.
    pub fn warn(&mut self, text: impl Display) {
        let head = Style::Warn.paint("pgo: warning:", self.err_colour);
        self.say(&head, &text.to_string());
    }

    fn say(&mut self, head: &str, text: &str) {
        let _ = writeln!(self.err, "{head} {}", one_line(text));
    }

    /// A question, without a line break after it.
    pub fn ask(&mut self, text: &str) {
        let _ = write!(self.err, "{text}").and_then(|()| self.err.flush());
    }

    /// Standard output could not take everything (a full disk); a reader that went away (`| head`) is no failure.
    pub fn failure(&mut self) -> Option<io::Error> {
        let done = self.out.flush();
        self.note(done);
        self.broken.take().filter(|e| e.kind() != ErrorKind::BrokenPipe)
    }

    /// Nobody takes what is written any more: a program that would go on for ever has to end.
    pub fn is_closed(&self) -> bool {
        self.broken.is_some()
    }

    fn note(&mut self, done: io::Result<()>) {
        if let (Err(error), None) = (done, &self.broken) {
            self.broken = Some(error);
        }
    }
}

/// Ends when nobody can read standard output any more, though nothing is written; never where that can't be told, as of a file.
pub async fn reader_gone() {
    #[cfg(unix)]
    {
        use tokio::io::{Interest, unix::AsyncFd};
        // A pipe whose reader has closed it is in error.
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for the sake of descriptors that may be closed; this one is not"
        )]
        let watched = AsyncFd::with_interest(io::stdout(), Interest::ERROR);
        if let Ok(out) = watched {
            let _ = out.ready(Interest::ERROR).await;
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// One line, without control characters: names and messages from a cluster or a volume must not drive the terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let words: Vec<String> = text
        .lines()
        .map(|line| line.trim().replace('\t', " ").replace(char::is_control, "?"))
        .filter(|line| !line.is_empty())
        .collect();
    Cow::Owned(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_from_elsewhere_do_nothing() {
        assert_eq!(one_line("a\x1b[31mb"), "a?[31mb");
        assert_eq!(one_line("first\n  second\r\n"), "first second");
        assert_eq!(one_line("refused\tIs it running?"), "refused Is it running?");
        assert_eq!(one_line("plain é"), "plain é");
    }

    #[test]
    fn colour_follows_the_wish_then_the_terminal() {
        let line = |wish, terminal, no_color| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            Screen::new(&mut out, &mut err, (terminal, terminal), wish, no_color).error("x");
            err
        };
        assert_eq!(line(ColourWish::Auto, false, false), b"pgo: error: x\n");
        assert_eq!(line(ColourWish::Auto, true, true), b"pgo: error: x\n");
        assert_eq!(line(ColourWish::Auto, true, false), b"\x1b[31mpgo: error:\x1b[0m x\n");
        assert_eq!(line(ColourWish::Always, false, true), b"\x1b[31mpgo: error:\x1b[0m x\n");
        assert_eq!(line(ColourWish::Never, true, false), b"pgo: error: x\n");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_but_a_full_disk_is() {
        struct Full(ErrorKind);
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let fails = |kind| {
            let mut err = Vec::new();
            let mut out = Full(kind);
            let mut screen = Screen::new(&mut out, &mut err, (false, false), ColourWish::Never, false);
            screen.line("x");
            assert!(screen.is_closed());
            screen.failure().is_some()
        };
        assert!(!fails(ErrorKind::BrokenPipe));
        assert!(fails(ErrorKind::StorageFull));
    }
}
