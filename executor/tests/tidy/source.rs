//! A source file as tokens: comments and the insides of literals are not seen by any rule.

use std::fs;
use std::path::Path;

/// A source file.
pub(crate) struct Source {
    /// Relative to the package, with forward slashes.
    pub(crate) path: String,
    pub(crate) line_count: usize,
    pub(crate) tokens: Vec<Token>,
    /// Line comments and doc comments, by line.
    pub(crate) comments: Vec<(usize, String)>,
}

/// An identifier, a number, `"` for a literal, or one character of punctuation.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut lexer = Lexer {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
        };
        let (mut tokens, mut comments) = (Vec::new(), Vec::new());
        while let Some(piece) = lexer.next() {
            match piece {
                Piece::Token(token) => tokens.push(token),
                Piece::Comment(line, text) => comments.push((line, text)),
            }
        }
        Self {
            path: path.to_owned(),
            line_count: text.lines().count(),
            tokens,
            comments,
        }
    }

    /// Whether the tokens at `at` are those of `pattern`, which are separated by spaces.
    pub(crate) fn matches(&self, at: usize, pattern: &str) -> bool {
        let mut tokens = self.tokens[at..].iter();
        pattern
            .split(' ')
            .all(|want| tokens.next().is_some_and(|token| token.text == want))
    }

    /// The places where `pattern` begins.
    pub(crate) fn find<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.tokens.len()).filter(move |&at| self.matches(at, pattern))
    }

    /// The position behind the bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// Says whether this is a file of tests, by its name.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("tests.rs")
    }
}

/// Reads every Rust file below `folder`, with paths relative to `root`.
pub(crate) fn load(root: &Path, folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a readable source");
                let name = path.strip_prefix(root).expect("below the root");
                sources.push(Source::parse(&name.to_string_lossy(), &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

enum Piece {
    Token(Token),
    Comment(usize, String),
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn next(&mut self) -> Option<Piece> {
        while self.peek(0)?.is_whitespace() {
            self.bump();
        }
        let (line, first) = (self.line, self.peek(0)?);
        let text = match first {
            '/' if self.peek(1) == Some('/') => return Some(self.line_comment(line)),
            '/' if self.peek(1) == Some('*') => return Some(self.block_comment(line)),
            '"' => self.string(),
            'r' | 'b' | 'c' if self.starts_literal() => self.prefixed(),
            '\'' => self.quote(),
            _ if is_word(first) => self.word(),
            _ => {
                self.bump();
                first.to_string()
            }
        };
        Some(Piece::Token(Token { text, line }))
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(char == '\n');
        Some(char)
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(char) = self.peek(0).filter(|&char| is_word(char)) {
            word.push(char);
            self.bump();
        }
        word
    }

    fn line_comment(&mut self, line: usize) -> Piece {
        let mut text = String::new();
        while let Some(char) = self.peek(0).filter(|&char| char != '\n') {
            text.push(char);
            self.bump();
        }
        Piece::Comment(line, text)
    }

    fn block_comment(&mut self, line: usize) -> Piece {
        let (mut text, mut depth) = (String::new(), 0);
        while let Some(char) = self.bump() {
            text.push(char);
            if text.ends_with("/*") {
                depth += 1;
            } else if text.ends_with("*/") {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
        }
        Piece::Comment(line, text)
    }

    /// Says whether an identifier here is the prefix of a string, a byte or a C string.
    fn starts_literal(&self) -> bool {
        let rest = &self.chars[self.at..];
        let letters = rest.iter().take_while(|char| is_word(**char)).count();
        let hashes = rest[letters..]
            .iter()
            .take_while(|char| **char == '#')
            .count();
        let raw = rest[..letters].contains(&'r');
        let quote = rest.get(letters + if raw { hashes } else { 0 });
        letters <= 2 && matches!(quote, Some('"')) || letters == 1 && quote == Some(&'\'')
    }

    fn prefixed(&mut self) -> String {
        let prefix = self.word();
        if !prefix.contains('r') {
            return if self.peek(0) == Some('\'') {
                self.quote()
            } else {
                self.string()
            };
        }
        let mut end = String::from("\"");
        while self.peek(0) == Some('#') {
            end.push('#');
            self.bump();
        }
        self.bump();
        let mut seen = String::new();
        while let Some(char) = self.bump() {
            seen.push(char);
            if seen.ends_with(&end) {
                break;
            }
        }
        "\"".to_owned()
    }

    fn string(&mut self) -> String {
        self.bump();
        while let Some(char) = self.bump() {
            match char {
                '\\' => drop(self.bump()),
                '"' => break,
                _ => {}
            }
        }
        "\"".to_owned()
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) -> String {
        self.bump();
        let is_char = self.peek(0) == Some('\\') || self.peek(1) == Some('\'');
        if !is_char {
            self.word();
            return "'".to_owned();
        }
        while let Some(char) = self.bump() {
            match char {
                '\\' => drop(self.bump()),
                '\'' => break,
                _ => {}
            }
        }
        "\"".to_owned()
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
