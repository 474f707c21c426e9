//! The syntax of Compose's interpolation, and where an image line has its repository, its tag and its digest.

/// One character or one variable of an image line.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Where it begins in the line.
    pub(super) start: usize,
    pub(super) kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// A character that stands for itself; `$$` is one `$`.
    Character(char),
    Variable {
        name: &'a str,
        /// `:-`, `-`, `:?`, `?`, `:+`, `+`, or nothing.
        operator: &'a str,
        /// What follows the operator; may contain variables again.
        argument: &'a str,
    },
}

impl Piece<'_> {
    /// Whether its value depends on the variable.
    pub(super) fn mentions(&self, variable: &str) -> bool {
        match self.kind {
            Kind::Character(_) => false,
            // An error message is never part of the value. What cannot be read, Compose refuses.
            Kind::Variable {
                name,
                operator,
                argument,
            } => {
                name == variable
                    || (!operator.ends_with('?')
                        && pieces(argument)
                            .is_ok_and(|inner| inner.iter().any(|piece| piece.mentions(variable))))
            }
        }
    }
}

/// Where repository, tag and digest begin and end in an image line.
pub(super) struct Borders {
    pub(super) repository_end: usize,
    /// Behind the `:` of the tag.
    pub(super) tag_start: Option<usize>,
    /// Behind the `@` of the digest.
    pub(super) digest_start: Option<usize>,
}

impl Borders {
    /// Finds them as the grammar of references does; what is inside a variable does not count.
    pub(super) fn of(pieces: &[Piece<'_>], len: usize) -> Self {
        let mut borders = Self {
            repository_end: len,
            tag_start: None,
            digest_start: None,
        };
        for piece in pieces {
            match piece.kind {
                // A `:` before a `/` began a port.
                Kind::Character('/') => {
                    borders.tag_start = None;
                    borders.repository_end = len;
                }
                Kind::Character(':') if borders.tag_start.is_none() => {
                    borders.tag_start = Some(piece.start + 1);
                    borders.repository_end = piece.start;
                }
                Kind::Character('@') => {
                    borders.digest_start = Some(piece.start + 1);
                    borders.repository_end = borders.repository_end.min(piece.start);
                    break;
                }
                _ => {}
            }
        }
        borders
    }
}

/// Takes a line apart; the error is the part that Compose cannot read.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(c) = text[start..].chars().next() {
        let rest = &text[start..];
        let (kind, len) = match rest.strip_prefix('$') {
            None => (Kind::Character(c), c.len_utf8()),
            Some(after) if after.starts_with('$') => (Kind::Character('$'), 2),
            Some(after) if after.starts_with('{') => braced(rest)?,
            Some(after) => match name_len(after) {
                // Compose leaves such a dollar sign alone.
                0 => (Kind::Character('$'), 1),
                len => (
                    Kind::Variable {
                        name: &after[..len],
                        operator: "",
                        argument: "",
                    },
                    1 + len,
                ),
            },
        };
        pieces.push(Piece { start, kind });
        start += len;
    }
    Ok(pieces)
}

/// Reads `${…}` at the start of `text`, with how many bytes it takes.
fn braced(text: &str) -> Result<(Kind<'_>, usize), &str> {
    let end = closing_brace(text).ok_or(text)?;
    let inner = &text[2..end];
    let (name, rest) = inner.split_at(name_len(inner));
    let operator_len = [":-", ":?", ":+", "-", "?", "+"]
        .iter()
        .find(|operator| rest.starts_with(**operator))
        .map_or(0, |operator| operator.len());
    let (operator, argument) = rest.split_at(operator_len);
    if name.is_empty() || (operator.is_empty() && !argument.is_empty()) {
        return Err(&text[..=end]);
    }
    Ok((
        Kind::Variable {
            name,
            operator,
            argument,
        },
        end + 1,
    ))
}

/// The brace that closes the first one; braces nest.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The length of the variable name at the start of `text`, 0 if there is none.
fn name_len(text: &str) -> usize {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let len = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    if begins { len } else { 0 }
}
