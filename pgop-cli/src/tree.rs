//! Trees, drawn as v1.0.0 drew them.

use crate::screen::{Style, one_line};

/// A line and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    text: String,
    style: Style,
    branches: Vec<Tree>,
}

impl Tree {
    /// A line.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: one_line(text.as_ref()).into_owned(),
            style: Style::Plain,
            branches: Vec::new(),
        }
    }

    /// A line that stands out.
    pub fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            style,
            ..Self::new(text)
        }
    }

    /// Adds a line below this one.
    pub fn push(&mut self, branch: impl Into<Tree>) {
        self.branches.push(branch.into());
    }

    /// The lines, each with a line break.
    pub fn render(&self, colour: bool) -> String {
        let mut text = self.style.paint(&self.text, colour);
        text.push('\n');
        self.render_branches(&mut text, "", colour);
        text
    }

    fn render_branches(&self, text: &mut String, indent: &str, colour: bool) {
        for (i, branch) in self.branches.iter().enumerate() {
            let last = i + 1 == self.branches.len();
            text.push_str(indent);
            text.push_str(if last { "└── " } else { "├── " });
            text.push_str(&branch.style.paint(&branch.text, colour));
            text.push('\n');
            branch.render_branches(text, &format!("{indent}{}", if last { "    " } else { "│   " }), colour);
        }
    }
}

impl<T: AsRef<str>> From<T> for Tree {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_branch_of_each_level_turns() {
        let mut pods = Tree::new("pods");
        pods.push("hippo-0");
        pods.push("hippo-1");
        let mut last = Tree::new("services");
        last.push("hippo");
        let mut root = Tree::new("cluster : hippo (Ready)");
        root.push(pods);
        root.push(last);
        let drawn = "\
cluster : hippo (Ready)
├── pods
│   ├── hippo-0
│   └── hippo-1
└── services
    └── hippo
";
        assert_eq!(root.render(false), drawn);
    }

    #[test]
    fn a_style_colours_the_text_and_not_the_glyphs() {
        let mut root = Tree::new("a");
        root.push(Tree::styled("b\nc", Style::Bad));
        assert_eq!(root.render(true), "a\n└── \x1b[31mb c\x1b[0m\n");
    }
}
