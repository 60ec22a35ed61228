//! The modules of one source file: what they define, what they `use`, and which paths their code
//! names.

use std::collections::BTreeSet;

use super::tokens::{Token, after_group, tokens};

/// One module: a file, or a `mod x { … }` inside it.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// From the crate's root: `["link", "session"]`.
    pub(super) path: Vec<String>,
    pub(super) file: String,
    pub(super) defines: BTreeSet<String>,
    pub(super) uses: Vec<Use>,
    /// Every path of two or more names outside of `use`.
    pub(super) paths: Vec<Vec<String>>,
}

/// One leaf of a `use` tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// The name that it brings in; none for `*`.
    pub(super) name: Option<String>,
    pub(super) is_public: bool,
}

/// A module that has a file of its own.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) path: Vec<String>,
    /// Where its file may be, relative to `src`.
    pub(super) candidates: Vec<String>,
}

/// The modules in this text and the modules that it declares. The first one is the file's own.
pub(super) fn parse(text: &str, file: &str, path: Vec<String>) -> (Vec<Module>, Vec<Declared>) {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens, file, modules: Vec::new(), declared: Vec::new() };
    parser.module(0, tokens.len(), path);
    (parser.modules, parser.declared)
}

struct Parser<'a> {
    tokens: &'a [Token],
    file: &'a str,
    modules: Vec<Module>,
    declared: Vec<Declared>,
}

impl Parser<'_> {
    /// Reads the tokens from `start` to `end` as one module and adds it.
    fn module(&mut self, start: usize, end: usize, path: Vec<String>) {
        let own = self.modules.len();
        self.modules.push(Module { path: path.clone(), file: self.file.to_owned(), ..Module::default() });
        let mut depth = 0_usize;
        let mut i = start;
        while i < end {
            let next = self.word(i + 1);
            match &self.tokens[i] {
                Token::Word(word) if word == "use" && !self.after_separator(i) => {
                    let is_public = i > start && is_visibility_end(&self.tokens[i - 1]);
                    i = self.use_tree(i + 1, &[], is_public, own);
                    continue;
                }
                Token::Word(word) if word == "mod" && depth == 0 && next.is_some() => {
                    i = self.child(i, next.unwrap_or_default(), &path);
                    continue;
                }
                Token::Word(word) if depth == 0 && is_definition(word) => {
                    self.modules[own].defines.extend(next.filter(|name| !is_definition(name)));
                }
                Token::Word(word) if depth == 0 && word == "macro_rules" => {
                    let name = self.word(i + 2);
                    self.modules[own].defines.extend(name);
                }
                Token::Word(_)
                    if !self.after_separator(i) && self.tokens.get(i + 1) == Some(&Token::PathSeparator) =>
                {
                    let (names, after) = self.path(i);
                    self.modules[own].paths.extend((names.len() > 1).then_some(names));
                    i = after;
                    continue;
                }
                Token::Mark('(' | '[' | '{') => depth += 1,
                Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            i += 1;
        }
    }

    /// A `mod` at `start`: a declaration, or a module inside the file.
    fn child(&mut self, start: usize, name: String, parent: &[String]) -> usize {
        let path = [parent, std::slice::from_ref(&name)].concat();
        if self.tokens.get(start + 2) == Some(&Token::Mark('{')) {
            let after = after_group(self.tokens, start + 2);
            self.module(start + 3, after - 1, path);
            return after;
        }
        let folder = self.file.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let candidates = match self.path_attribute(start) {
            Some(own) => vec![normalized(&format!("{folder}{own}"))],
            None => {
                // A file such as `a.rs` keeps its children in `a/`.
                let stem = self.file.strip_suffix(".rs").unwrap_or(self.file);
                let is_face = matches!(stem.rsplit('/').next(), Some("mod" | "lib" | "main"));
                let folder = if is_face { folder } else { format!("{stem}/") };
                vec![format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")]
            }
        };
        self.declared.push(Declared { path, candidates });
        start + 3
    }

    /// The text of `#[path = "…"]` before the `mod` at `start`.
    fn path_attribute(&self, start: usize) -> Option<&str> {
        let item = self.tokens[..start].iter().rposition(|token| matches!(token, Token::Mark(';' | '}')));
        let attributes = &self.tokens[item.map_or(0, |end| end + 1)..start];
        attributes.windows(3).find_map(|window| match window {
            [path, Token::Mark('='), Token::Text(text)] if path.is_word("path") => Some(text.as_str()),
            _ => None,
        })
    }

    /// Adds the leaves of the `use` tree at `start`, behind this prefix. The position after it.
    fn use_tree(&mut self, start: usize, prefix: &[String], is_public: bool, own: usize) -> usize {
        let start = if self.tokens.get(start) == Some(&Token::PathSeparator) { start + 1 } else { start };
        let (names, mut i) = self.path(start);
        let path = [prefix, &names].concat();
        match self.tokens.get(i) {
            Some(Token::Mark('{')) => {
                let after = after_group(self.tokens, i);
                i += 1;
                while i + 1 < after {
                    i = self.use_tree(i, &path, is_public, own).max(i + 1);
                }
                after
            }
            Some(Token::Mark('*')) => {
                self.modules[own].uses.push(Use { path, name: None, is_public });
                i + 1
            }
            _ if names.is_empty() => i + 1, // the comma after the last leaf
            next => {
                let alias = next.is_some_and(|token| token.is_word("as")).then(|| self.word(i + 1)).flatten();
                i += if alias.is_some() { 2 } else { 0 };
                let is_self = path.len() > 1 && path.last().is_some_and(|last| last == "self");
                let path = if is_self { path[..path.len() - 1].to_vec() } else { path };
                let name = alias.or_else(|| path.last().cloned());
                self.modules[own].uses.push(Use { path, name, is_public });
                i + 1 // the comma or the semicolon
            }
        }
    }

    /// The names of the path at `start`, up to what is no name, and the position after them.
    fn path(&self, start: usize) -> (Vec<String>, usize) {
        let mut names = Vec::new();
        let mut i = start;
        while let Some(name) = self.word(i) {
            names.push(name);
            i += 1;
            if self.tokens.get(i) != Some(&Token::PathSeparator) {
                break;
            }
            i += 1;
        }
        (names, i)
    }

    fn word(&self, position: usize) -> Option<String> {
        self.tokens.get(position).and_then(Token::word).map(str::to_owned)
    }

    fn after_separator(&self, position: usize) -> bool {
        position > 0 && self.tokens[position - 1] == Token::PathSeparator
    }
}

fn is_definition(word: &str) -> bool {
    matches!(
        word,
        "fn" | "struct"
            | "enum"
            | "union"
            | "trait"
            | "type"
            | "const"
            | "static"
            | "mut"
            | "unsafe"
            | "async"
            | "extern"
    )
}

/// What stands before a public `use`: `pub`, or the end of `pub(crate)`.
fn is_visibility_end(token: &Token) -> bool {
    token.is_word("pub") || *token == Token::Mark(')')
}

/// The path without `..`.
fn normalized(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
