//! The image line of a Compose service as written, before variables are replaced.
//!
//! cutover deploys by giving Compose another value for one variable: the one that is the tag, or the one that is the
//! whole image. So the line must have such a variable, and it must decide nothing else. This module reads
//! the line in the syntax of Compose's own interpolation (`$NAME`, `${NAME}`, `${NAME:-default}`,
//! `${NAME:?message}`, `$$` for a dollar sign) and otherwise says which line to write instead.

use std::fmt;

/// What a suggestion says where the line does not tell the repository.
const UNKNOWN_REPOSITORY: &str = "REPOSITORY";

/// What the variable of an image line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// The tag.
    Tag,
    /// The whole image, its tag included.
    Image,
}

/// An image line that a deployment can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTemplate {
    /// The variable that carries the tag, for example `APP_IMAGE_TAG`.
    pub tag_variable: String,
    /// Whether it is the tag, or the whole image.
    pub carries: Carries,
    /// Registry and repository as written, for example `${REGISTRY}/shop`; may contain other variables. The whole line
    /// where the variable is the whole image.
    pub repository_template: String,
}

/// The variable that a deployment sets, and its value for each tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagVariable {
    /// Its name, for example `APP_IMAGE_TAG`.
    pub name: String,
    /// What stands before the tag: nothing, or the repository and a `:`.
    prefix: String,
}

impl TagVariable {
    /// One that is the tag.
    #[must_use]
    pub fn of_tag(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix: String::new(),
        }
    }

    /// One that is the whole image, which is `image` now; none where that names no repository.
    #[must_use]
    pub fn of_image(name: impl Into<String>, image: &str) -> Option<Self> {
        let repository = without_tag(image)?;
        Some(Self {
            name: name.into(),
            prefix: format!("{repository}:"),
        })
    }

    /// Whether it is the tag, or the whole image.
    #[must_use]
    pub fn carries(&self) -> Carries {
        match self.prefix.is_empty() {
            true => Carries::Tag,
            false => Carries::Image,
        }
    }

    /// Its value for a tag.
    #[must_use]
    pub fn value(&self, tag: &str) -> String {
        format!("{}{tag}", self.prefix)
    }
}

/// The image without its tag and its digest, which may be written with variables; none where nothing is left.
#[must_use]
pub fn without_tag(image: &str) -> Option<&str> {
    let pieces = pieces(image).ok()?;
    let borders = Borders::of(&pieces, image.len());
    let repository = &image[..borders.repository_end];
    (!repository.is_empty()).then_some(repository)
}

/// Why no tag variable could be found in an image line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateProblem {
    /// There is no image line, or it is empty.
    NoImage,
    /// No tag is written.
    NoTag,
    /// The tag is written out.
    FixedTag(String),
    /// A digest is written, with or without a tag: Docker would follow it and not the tag.
    Digest,
    /// The tag consists of several parts, for example `v${TAG}`.
    TagOfParts(String),
    /// `${NAME:+text}`: the tag would be the text and not the variable's value.
    Replaced(String),
    /// The variable stands in the repository as well, so another tag would be another repository.
    InRepository(String),
    /// The line is not in the syntax of Compose's interpolation; the part that is not.
    Syntax(String),
}

/// An image line that a deployment cannot use, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image `{image}` {problem}")]
pub struct TemplateError {
    /// The line as written.
    pub image: String,
    /// What is wrong with it.
    pub problem: TemplateProblem,
    repository: String,
}

impl TemplateError {
    /// The line to write instead for the Compose service `service`, for example
    /// `image: ghcr.io/acme/shop:${SHOP_IMAGE_TAG}`.
    #[must_use]
    pub fn suggestion(&self, service: &str) -> String {
        let variable = suggested_variable(service);
        format!("image: {}:${{{variable}}}", self.repository)
    }
}

impl TemplateError {
    /// Repository and tag as written, where a variable in the tag's place is all that the line lacks.
    #[must_use]
    pub fn fixable(&self) -> Option<(String, Option<String>)> {
        match &self.problem {
            TemplateProblem::NoTag => Some((self.repository.clone(), None)),
            TemplateProblem::FixedTag(tag) => Some((self.repository.clone(), Some(tag.clone()))),
            _ => None,
        }
    }
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage => f.write_str("is missing: cutover runs images and does not build them"),
            Self::NoTag => f.write_str("has no tag: it needs a variable there"),
            Self::FixedTag(tag) => {
                write!(f, "has the fixed tag `{tag}`: it needs a variable there")
            }
            Self::Digest => {
                f.write_str("is pinned to a digest: it needs a variable as its tag, and no digest")
            }
            Self::TagOfParts(tag) => write!(
                f,
                "has the tag `{tag}`, which is more than one variable: one variable must be the whole tag"
            ),
            Self::Replaced(variable) => write!(
                f,
                "replaces the value of {variable} by other text: the value itself must be the tag"
            ),
            Self::InRepository(variable) => write!(
                f,
                "uses {variable} in the repository as well: the tag needs a variable of its own"
            ),
            Self::Syntax(part) => write!(f, "cannot be read by Compose at `{part}`"),
        }
    }
}

/// Reads an image line as written in the Compose file.
///
/// # Errors
/// Every line of which neither the tag nor the whole is one variable; the error names the problem and the line to write.
pub fn image_template(image: &str) -> Result<ImageTemplate, TemplateError> {
    read(image).map_err(|(problem, repository)| TemplateError {
        image: image.to_owned(),
        problem,
        repository: repository.unwrap_or(UNKNOWN_REPOSITORY).to_owned(),
    })
}

/// Whether nothing stands in `text`, a value in the syntax of Compose's interpolation, where `variable` is not set: its
/// value is used as it is, without a default.
#[must_use]
pub fn is_blank_without(text: &str, variable: &str) -> bool {
    let is_blank = |piece: &Piece<'_>| match piece.kind {
        Kind::Character(_) => false,
        Kind::Variable {
            name, operator: "", ..
        } => name == variable,
        // A default is a value again; a message or a replacement is never seen without the variable.
        Kind::Variable {
            operator, argument, ..
        } => operator.ends_with('-') && is_blank_without(argument, variable),
    };
    pieces(text).is_ok_and(|pieces| pieces.iter().any(is_blank))
}

/// Reads an image line; beside a problem, the repository as far as it could be told.
fn read(image: &str) -> Result<ImageTemplate, (TemplateProblem, Option<&str>)> {
    let pieces = pieces(image).map_err(|part| (TemplateProblem::Syntax(part.to_owned()), None))?;
    let borders = Borders::of(&pieces, image.len());
    let repository = &image[..borders.repository_end];
    let known = Some(repository).filter(|repository| !repository.is_empty());
    match (&pieces[..], borders.tag_start) {
        ([], _) => return Err((TemplateProblem::NoImage, None)),
        _ if borders.has_digest => return Err((TemplateProblem::Digest, known)),
        (whole @ [_], _) if matches!(whole[0].kind, Kind::Variable { .. }) => {
            return match tag_variable(whole, image) {
                Ok(name) => Ok(ImageTemplate {
                    tag_variable: name.to_owned(),
                    carries: Carries::Image,
                    repository_template: image.to_owned(),
                }),
                Err(problem) => Err((problem, None)),
            };
        }
        _ => {}
    }
    let Some(tag_start) = borders.tag_start else {
        return Err((TemplateProblem::NoTag, known));
    };
    let (before, tag) = pieces.split_at(pieces.partition_point(|piece| piece.start < tag_start));
    let name = tag_variable(tag, &image[tag_start..]).map_err(|problem| (problem, known))?;
    if before.iter().any(|piece| piece.mentions(name)) {
        return Err((TemplateProblem::InRepository(name.to_owned()), known));
    }
    Ok(ImageTemplate {
        tag_variable: name.to_owned(),
        carries: Carries::Tag,
        repository_template: repository.to_owned(),
    })
}

/// The variable that is the whole tag, given the pieces of the tag and its text.
fn tag_variable<'a>(tag: &[Piece<'a>], text: &str) -> Result<&'a str, TemplateProblem> {
    match tag {
        [] => Err(TemplateProblem::NoTag),
        [
            Piece {
                kind: Kind::Variable { name, operator, .. },
                ..
            },
        ] => {
            if operator.ends_with('+') {
                Err(TemplateProblem::Replaced((*name).to_owned()))
            } else {
                Ok(name)
            }
        }
        parts
            if parts
                .iter()
                .all(|piece| matches!(piece.kind, Kind::Character(_))) =>
        {
            Err(TemplateProblem::FixedTag(text.to_owned()))
        }
        _ => Err(TemplateProblem::TagOfParts(text.to_owned())),
    }
}

/// The name of a tag variable for the Compose service `service`: `shop-api` becomes `SHOP_API_IMAGE_TAG`.
#[must_use]
pub fn suggested_variable(service: &str) -> String {
    let mut variable: String = service
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    // A variable cannot begin with a digit, a service can.
    if variable.starts_with(|c: char| c.is_ascii_digit()) {
        variable.insert(0, '_');
    }
    variable.push_str("_IMAGE_TAG");
    variable
}

/// One character or one variable of an image line.
#[derive(Debug)]
struct Piece<'a> {
    /// Where it begins in the line.
    start: usize,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
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
    fn mentions(&self, variable: &str) -> bool {
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
struct Borders {
    repository_end: usize,
    /// Behind the `:` of the tag.
    tag_start: Option<usize>,
    has_digest: bool,
}

impl Borders {
    /// Finds them as the grammar of references does; what is inside a variable does not count.
    fn of(pieces: &[Piece<'_>], len: usize) -> Self {
        let mut borders = Self {
            repository_end: len,
            tag_start: None,
            has_digest: false,
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
                    borders.has_digest = true;
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
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
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

#[cfg(test)]
mod tests;
