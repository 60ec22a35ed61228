//! Source text as tokens: no comments, no lifetimes, no numbers, nothing under `#[cfg(test)]`.

/// One token. Strings keep their text for `#[path = "…"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Mark(char),
    PathSeparator,
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    fn opens(&self) -> bool {
        matches!(self, Self::Mark('(' | '[' | '{'))
    }

    fn closes(&self) -> bool {
        matches!(self, Self::Mark(')' | ']' | '}'))
    }
}

pub(super) fn tokens(source: &str) -> Vec<Token> {
    without_tests(&all_tokens(source))
}

/// The position after the bracket that closes the one at `open`.
pub(super) fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate().skip(open) {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth -= 1;
            if depth == 0 {
                return position + 1;
            }
        }
    }
    tokens.len()
}

fn all_tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |position: usize| chars.get(position).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => i = (i..chars.len()).find(|&end| at(end) == '\n').unwrap_or(chars.len()),
            ('/', '*') => i = after_comment(&chars, i),
            (':', ':') => {
                tokens.push(Token::PathSeparator);
                i += 2;
            }
            ('"', _) => i = push_string(&chars, i, &mut tokens),
            ('\'', first) => {
                // A character ends with a quote; what does not is a lifetime.
                let end = if first == '\\' { i + 3 } else { i + 2 };
                i = match (end..end + 8).find(|&end| at(end) == '\'') {
                    Some(end) if first == '\\' || end == i + 2 => end + 1,
                    _ => i + 1,
                };
            }
            (first, _) if first.is_alphanumeric() || first == '_' => {
                let end = (i..chars.len()).find(|&end| !at(end).is_alphanumeric() && at(end) != '_');
                let end = end.unwrap_or(chars.len());
                let word: String = chars[i..end].iter().collect();
                i = match (word.as_str(), at(end)) {
                    ("r" | "br" | "cr", '"' | '#') => match raw_string_end(&chars, end) {
                        Some(after) => after,
                        None => end + 1, // `r#type`: the word follows
                    },
                    _ => end,
                };
                if i == end && !first.is_numeric() {
                    tokens.push(Token::Word(word));
                }
            }
            (space, _) if space.is_whitespace() => i += 1,
            (mark, _) => {
                tokens.push(Token::Mark(mark));
                i += 1;
            }
        }
    }
    tokens
}

/// The position after the block comment that begins at `start`. Comments nest.
fn after_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn push_string(chars: &[char], start: usize, tokens: &mut Vec<Token>) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    tokens.push(Token::Text(chars[start + 1..i.min(chars.len())].iter().collect()));
    i + 1
}

/// The position after a raw string whose hashes or quote begin at `start`; none where no string
/// follows.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start..].iter().take_while(|&&char| char == '#').count();
    let open = start + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    (open + 1..chars.len())
        .find(|&i| {
            chars[i] == '"'
                && chars[i + 1..].iter().take(hashes).filter(|&&char| char == '#').count() == hashes
        })
        .map(|quote| quote + 1 + hashes)
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if is_test_attribute(&tokens[i..]) {
            if tokens.get(i + 1) == Some(&Token::Mark('!')) {
                return Vec::new(); // the whole file is a test
            }
            i = after_item(tokens, i);
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let mut rest = tokens.iter().filter(|token| **token != Token::Mark('!'));
    let mut next = || rest.next();
    if next() != Some(&Token::Mark('#'))
        || next() != Some(&Token::Mark('['))
        || !next().is_some_and(|t| t.is_word("cfg"))
    {
        return false;
    }
    _ = next();
    match next() {
        Some(token) if token.is_word("all") => {
            _ = next();
            next().is_some_and(|token| token.is_word("test"))
        }
        token => token.is_some_and(|token| token.is_word("test")),
    }
}

/// The position after the attributes at `start` and what they stand on: an item, a statement, a
/// field.
fn after_item(tokens: &[Token], start: usize) -> usize {
    const ITEMS: [&str; 15] = [
        "pub", "fn", "mod", "use", "struct", "enum", "impl", "trait", "type", "const", "static", "async",
        "unsafe", "extern", "let",
    ];
    let mut i = start;
    while tokens.get(i) == Some(&Token::Mark('#')) {
        i = after_group(tokens, i + 1);
    }
    let ends_with_comma = !tokens.get(i).and_then(Token::word).is_some_and(|word| ITEMS.contains(&word));
    while let Some(token) = tokens.get(i) {
        match token {
            Token::Mark('{') => return after_group(tokens, i),
            Token::Mark(';') => return i + 1,
            Token::Mark(',') if ends_with_comma => return i + 1,
            token if token.closes() => return i,
            token if token.opens() => i = after_group(tokens, i),
            _ => i += 1,
        }
    }
    i
}
